package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// about says who answers.
func about(ctx context.Context, s *Session, _ Arguments) error {
	if err := s.UseServiceVersion(); err != nil {
		return err
	}
	user, err := s.SessionManager.UserSession(ctx)
	if err != nil {
		return err
	}
	now, err := methods.GetCurrentTime(ctx, s.Client)
	if err != nil {
		return err
	}
	is := s.ServiceContent.About
	say(Line{
		"product": is.FullName, "apiType": is.ApiType, "apiVersion": is.ApiVersion,
		"spoken": s.Version, "user": user.UserName, "now": now.Format(time.RFC3339Nano),
		"vcenter": s.IsVC(),
	})
	return nil
}

// allVMs is a filter for some properties of every VM below the root.
func allVMs(ctx context.Context, s *Session, paths []string) (types.PropertyFilterSpec, *view.ContainerView, error) {
	container, err := view.NewManager(s.Client.Client).CreateContainerView(
		ctx, s.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err != nil {
		return types.PropertyFilterSpec{}, nil, err
	}
	spec := types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{
			Obj: container.Reference(), Skip: types.NewBool(true),
			SelectSet: []types.BaseSelectionSpec{container.TraversalSpec()},
		}},
		PropSet: []types.PropertySpec{{Type: "VirtualMachine", PathSet: paths}},
	}
	return spec, container, nil
}

// list prints every VM, fetched in pages of so many objects (page; 0: as the server likes).
func list(ctx context.Context, s *Session, with Arguments) error {
	paths := []string{"name", "runtime.powerState", "config.hardware.device", "snapshot",
		"config.changeTrackingEnabled", "layoutEx", "summary.storage"}
	spec, container, err := allVMs(ctx, s, paths)
	if err != nil {
		return err
	}
	defer container.Destroy(ctx)
	answer, err := methods.RetrievePropertiesEx(ctx, s.Client, &types.RetrievePropertiesEx{
		This: s.ServiceContent.PropertyCollector, SpecSet: []types.PropertyFilterSpec{spec},
		Options: types.RetrieveOptions{MaxObjects: int32(with.number("page", 0))},
	})
	if err != nil {
		return err
	}
	pages, found := 0, 0
	for page := answer.Returnval; page != nil; {
		pages++
		for _, content := range page.Objects {
			var vm mo.VirtualMachine
			if err := mo.LoadObjectContent([]types.ObjectContent{content}, &vm); err != nil {
				return err
			}
			say(described(vm))
			found++
		}
		if page.Token == "" {
			break
		}
		more, err := methods.ContinueRetrievePropertiesEx(
			ctx, s.Client, &types.ContinueRetrievePropertiesEx{
				This: s.ServiceContent.PropertyCollector, Token: page.Token,
			})
		if err != nil {
			return err
		}
		page = &more.Returnval
	}
	say(Line{"pages": pages, "found": found})
	return nil
}

// Disk is a virtual disk as the inventory shows it.
type Disk struct {
	Key      int32  `json:"key"`
	Capacity int64  `json:"capacity"`
	File     string `json:"file"`
	ChangeID string `json:"changeId"`
	Depth    int    `json:"depth"` // links of the chain below the head
}

func described(vm mo.VirtualMachine) Line {
	line := Line{"name": vm.Name, "vm": vm.Self.Value, "power": vm.Runtime.PowerState}
	if vm.Config != nil {
		line["disks"] = disksOf(vm.Config.Hardware.Device)
		line["devices"] = len(vm.Config.Hardware.Device)
		line["tracking"] = vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
	}
	if vm.LayoutEx != nil {
		line["files"] = len(vm.LayoutEx.File)
	}
	snapshots := []Line{}
	if vm.Snapshot != nil {
		for _, top := range vm.Snapshot.RootSnapshotList {
			snapshots = below(snapshots, top)
		}
	}
	line["snapshots"] = snapshots
	return line
}

func below(lines []Line, tree types.VirtualMachineSnapshotTree) []Line {
	lines = append(lines, Line{"snapshot": tree.Snapshot.Value, "name": tree.Name})
	for _, child := range tree.ChildSnapshotList {
		lines = below(lines, child)
	}
	return lines
}

func disksOf(devices object.VirtualDeviceList) []Disk {
	disks := []Disk{}
	for _, device := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		told := Disk{Key: disk.Key, Capacity: disk.CapacityInBytes}
		if flat, is := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); is {
			told.File, told.ChangeID = flat.FileName, flat.ChangeId
			for up := flat.Parent; up != nil; up = up.Parent {
				told.Depth++
			}
		} else if sparse, is := disk.Backing.(*types.VirtualDiskSeSparseBackingInfo); is {
			told.File, told.ChangeID = sparse.FileName, sparse.ChangeId
			for up := sparse.Parent; up != nil; up = up.Parent {
				told.Depth++
			}
		}
		disks = append(disks, told)
	}
	return disks
}

// vmNamed returns a VM by its name.
func vmNamed(ctx context.Context, s *Session, name string) (types.ManagedObjectReference, error) {
	none := types.ManagedObjectReference{}
	spec, container, err := allVMs(ctx, s, []string{"name"})
	if err != nil {
		return none, err
	}
	defer container.Destroy(ctx)
	answer, err := property.DefaultCollector(s.Client.Client).RetrieveProperties(
		ctx, types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{spec}})
	if err != nil {
		return none, err
	}
	for _, content := range answer.Returnval {
		for _, value := range content.PropSet {
			if value.Val == name {
				return content.Obj, nil
			}
		}
	}
	return none, fmt.Errorf("there is no VM %q", name)
}

// search finds a VM by path (the finder walks the folders) and by uuid.
func search(ctx context.Context, s *Session, with Arguments) error {
	finder := find.NewFinder(s.Client.Client)
	center, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		return err
	}
	finder.SetDatacenter(center)
	vm, err := finder.VirtualMachine(ctx, with["vm"])
	if err != nil {
		return err
	}
	var holds mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"config"}, &holds); err != nil {
		return err
	}
	index := object.NewSearchIndex(s.Client.Client)
	byUuid, err := index.FindByUuid(ctx, center, holds.Config.Uuid, true, nil)
	if err != nil {
		return err
	}
	byPath, err := index.FindByInventoryPath(ctx, vm.InventoryPath)
	if err != nil {
		return err
	}
	stores, err := finder.DatastoreList(ctx, "*")
	if err != nil {
		return err
	}
	hosts, err := finder.HostSystemList(ctx, "*")
	if err != nil {
		return err
	}
	say(Line{
		"vm": vm.Reference().Value, "path": vm.InventoryPath, "center": center.InventoryPath,
		"byUuid": value(byUuid), "byPath": value(byPath),
		"datastores": len(stores), "hosts": len(hosts),
	})
	return nil
}

func value(found object.Reference) string {
	if found == nil {
		return ""
	}
	return found.Reference().Value
}

// logout ends the session, then uses it.
func logout(ctx context.Context, s *Session, _ Arguments) error {
	if err := s.Logout(ctx); err != nil {
		return err
	}
	_, err := view.NewManager(s.Client.Client).CreateContainerView(
		ctx, s.ServiceContent.RootFolder, nil, true)
	return err
}

// clients has many sessions (count) read a VM's name at once, many times each (calls).
func clients(ctx context.Context, s *Session, with Arguments) error {
	vm, err := vmNamed(ctx, s, with["vm"])
	if err != nil {
		return err
	}
	count, calls := with.number("count", 64), with.number("calls", 100)
	failures := make(chan error, count*(calls+2))
	var all sync.WaitGroup
	began := time.Now()
	for k := int64(0); k < count; k++ {
		all.Add(1)
		go func() {
			defer all.Done()
			mine, err := login(ctx, s.url)
			if err != nil {
				failures <- err
				return
			}
			var holds mo.VirtualMachine
			for n := int64(0); n < calls; n++ {
				if err := mine.RetrieveOne(ctx, vm, []string{"name"}, &holds); err != nil {
					failures <- err
				} else if holds.Name != with["vm"] {
					failures <- fmt.Errorf("%q is not %q", holds.Name, with["vm"])
				}
			}
			if err := mine.Logout(ctx); err != nil {
				failures <- err
			}
		}()
	}
	all.Wait()
	close(failures)
	told := []string{}
	for err := range failures {
		told = append(told, err.Error())
	}
	say(Line{"clients": count, "calls": count * calls, "errors": told,
		"seconds": time.Since(began).Seconds()})
	return nil
}
