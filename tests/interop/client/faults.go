package main

import (
	"context"
	"errors"
	"reflect"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Fault is a server's fault by what a client can tell it from others.
type Fault struct {
	Type     string   `json:"type"`
	Text     string   `json:"text"`
	Property string   `json:"property,omitempty"` // InvalidArgument
	Name     string   `json:"name,omitempty"`     // InvalidProperty
	File     string   `json:"file,omitempty"`     // FileFault
	Keys     []string `json:"keys,omitempty"`     // of faultMessage
	Object   string   `json:"object,omitempty"`   // ManagedObjectNotFound, TaskInProgress
}

// faultOf returns the fault in an error, which comes from a call or from a task; nil if it is none.
func faultOf(err error) *Fault {
	var failed task.Error
	switch {
	case err == nil:
		return nil
	case soap.IsSoapFault(err):
		fault := soap.ToSoapFault(err)
		return describe(fault.VimFault(), fault.String)
	case soap.IsVimFault(err):
		return describe(soap.ToVimFault(err), err.Error())
	case errors.As(err, &failed):
		return describe(failed.Fault(), failed.LocalizedMessage)
	}
	return nil
}

func describe(fault interface{}, text string) *Fault {
	value := reflect.Indirect(reflect.ValueOf(fault))
	if !value.IsValid() {
		return &Fault{Type: "", Text: text} // the detail could not be read
	}
	told := &Fault{Type: value.Type().Name(), Text: text}
	told.Property = textOf(value, "InvalidProperty")
	told.Name = textOf(value, "Name")
	told.File = textOf(value, "File")
	for _, field := range []string{"Obj", "Task"} {
		if of := value.FieldByName(field); of.IsValid() {
			if reference, is := of.Interface().(types.ManagedObjectReference); is {
				told.Object = reference.Value
			}
		}
	}
	if messages := value.FieldByName("FaultMessage"); messages.IsValid() {
		for _, message := range messages.Interface().([]types.LocalizableMessage) {
			told.Keys = append(told.Keys, message.Key)
		}
	}
	return told
}

func textOf(value reflect.Value, field string) string {
	if of := value.FieldByName(field); of.IsValid() && of.Kind() == reflect.String {
		return of.String()
	}
	return ""
}

// faults makes calls with one bad argument each, and says what each was answered with.
// vm: a VM's name; snapshot: of it; key: of a disk of it; change: a changeId to ask with.
func faults(ctx context.Context, s *Session, with Arguments) error {
	vm, err := vmNamed(ctx, s, with["vm"])
	if err != nil {
		return err
	}
	snapshot := types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: with["snapshot"]}
	good := types.QueryChangedDiskAreas{
		This:      vm,
		Snapshot:  &snapshot,
		DeviceKey: int32(with.number("key", 2000)),
		ChangeId:  with["change"],
	}
	bad := map[string]func(*types.QueryChangedDiskAreas){
		"deviceKey":   func(ask *types.QueryChangedDiskAreas) { ask.DeviceKey = 9 },
		"startOffset": func(ask *types.QueryChangedDiskAreas) { ask.StartOffset = 1 << 50 },
		"malformed":   func(ask *types.QueryChangedDiskAreas) { ask.ChangeId = "52 de/3" },
		"foreign": func(ask *types.QueryChangedDiskAreas) {
			ask.ChangeId = "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00/1"
		},
		"snapshot": func(ask *types.QueryChangedDiskAreas) {
			ask.Snapshot = &types.ManagedObjectReference{Type: snapshot.Type, Value: "snapshot-none"}
		},
	}
	for name, spoil := range bad {
		ask := good
		spoil(&ask)
		_, err := methods.QueryChangedDiskAreas(ctx, s.Client, &ask)
		tell(name, err)
	}
	tell("property", property.DefaultCollector(s.Client.Client).RetrieveOne(
		ctx, vm, []string{"no.such.property"}, &mo.VirtualMachine{}))
	_, err = methods.QueryConfigOptionDescriptor(ctx, s.Client, &types.QueryConfigOptionDescriptor{
		This: vm, // an environment browser has this method, a VM has not
	})
	tell("method", err)
	return nil
}

func tell(name string, err error) {
	line := Line{"of": name}
	if fault := faultOf(err); fault != nil {
		line["fault"] = fault
	} else if err != nil {
		line["error"] = err.Error()
	}
	say(line)
}
