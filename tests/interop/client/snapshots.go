package main

import (
	"context"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func machine(ctx context.Context, s *Session, with Arguments) (*object.VirtualMachine, error) {
	vm, err := vmNamed(ctx, s, with["vm"])
	if err != nil {
		return nil, err
	}
	return object.NewVirtualMachine(s.Client.Client, vm), nil
}

// ended waits for a task, by a property collector of its own, and prints how it ended.
func ended(ctx context.Context, s *Session, task *object.Task) (*types.TaskInfo, error) {
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return nil, err
	}
	line := Line{
		"task": info.Key, "state": info.State, "method": info.Name,
		"description": info.DescriptionId, "entity": info.EntityName, "cancelable": info.Cancelable,
	}
	if info.StartTime != nil && info.CompleteTime != nil {
		line["seconds"] = info.CompleteTime.Sub(*info.StartTime).Seconds()
	}
	if result, is := info.Result.(types.ManagedObjectReference); is {
		line["result"] = result.Value
		if result.Type == "VirtualMachineSnapshot" {
			var holds mo.VirtualMachineSnapshot
			if err := s.RetrieveOne(ctx, result, []string{"config"}, &holds); err != nil {
				return nil, err
			}
			line["disks"] = disksOf(holds.Config.Hardware.Device)
		}
	}
	say(line)
	return info, nil
}

// tracking switches changed block tracking of a VM on, or off (on=no).
func tracking(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	on := with["on"] != "no"
	task, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &on})
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// power switches a VM on, or off (on=no).
func power(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	turn := vm.PowerOn
	if with["on"] == "no" {
		turn = vm.PowerOff
	}
	task, err := turn(ctx)
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// snapshot takes a snapshot of a VM; its disks are printed, with their changeIds.
func snapshot(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	task, err := vm.CreateSnapshot(ctx, with["name"], "", false, with["quiesce"] == "yes")
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// remove removes a snapshot of a VM by its name.
func remove(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	task, err := vm.RemoveSnapshot(ctx, with["name"], with["children"] == "yes", types.NewBool(true))
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// removeAll removes all snapshots of a VM.
func removeAll(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	task, err := vm.RemoveAllSnapshot(ctx, types.NewBool(true))
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// revert takes a VM back to a snapshot.
func revert(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	task, err := vm.RevertToSnapshot(ctx, with["name"], with["on"] == "no")
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, task)
	return err
}

// overlap asks for a second snapshot while the first is being taken.
func overlap(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	first, err := vm.CreateSnapshot(ctx, with["name"], "", false, false)
	if err != nil {
		return err
	}
	second, err := vm.CreateSnapshot(ctx, with["name"]+" again", "", false, false)
	if err == nil {
		_, err = second.WaitForResult(ctx, nil)
	}
	tell("second", err)
	_, err = ended(ctx, s, first)
	return err
}

// watch waits for updates of a VM's snapshots and devices while one is taken and removed; it
// prints each update as it comes.
func watch(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	waiting, stop := context.WithCancel(ctx)
	first := make(chan bool)
	var watching sync.WaitGroup
	watching.Add(1)
	var failed error
	go func() {
		defer watching.Done()
		failed = updates(waiting, s, vm.Reference(), first)
	}()
	<-first
	err = snapshotAndBack(ctx, s, vm, with["name"])
	time.Sleep(time.Second) // what is on its way comes in
	stop()
	watching.Wait()
	if failed != nil {
		return failed
	}
	return err
}

func updates(
	ctx context.Context, s *Session, vm types.ManagedObjectReference, first chan<- bool,
) error {
	paths := []string{"snapshot", "config.hardware.device", "runtime.consolidationNeeded"}
	announced := false
	return property.Wait(
		ctx, property.DefaultCollector(s.Client.Client), vm, paths,
		func(changes []types.PropertyChange) bool {
			line := Line{}
			for _, change := range changes {
				line[change.Name] = told(change)
			}
			say(Line{"update": line})
			if !announced {
				announced = true
				close(first)
			}
			return false
		})
}

func told(change types.PropertyChange) interface{} {
	switch value := change.Val.(type) {
	case nil:
		return nil
	case types.VirtualMachineSnapshotInfo:
		lines := []Line{}
		for _, top := range value.RootSnapshotList {
			lines = below(lines, top)
		}
		return lines
	case types.ArrayOfVirtualDevice:
		return disksOf(value.VirtualDevice)
	default:
		return value
	}
}

func snapshotAndBack(
	ctx context.Context, s *Session, vm *object.VirtualMachine, name string,
) error {
	task, err := vm.CreateSnapshot(ctx, name, "", false, false)
	if err != nil {
		return err
	}
	if _, err := ended(ctx, s, task); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // so that both changes are seen, not their sum
	answer, err := vm.FindSnapshot(ctx, name)
	if err != nil {
		return err
	}
	removal, err := methods.RemoveSnapshot_Task(ctx, s.Client, &types.RemoveSnapshot_Task{
		This: answer.Reference(), RemoveChildren: false,
	})
	if err != nil {
		return err
	}
	_, err = ended(ctx, s, object.NewTask(s.Client.Client, removal.Returnval))
	return err
}
