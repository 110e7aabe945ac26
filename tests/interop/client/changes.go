package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Merged is a running digest of areas, in which how they were cut into pages does not show:
// the lines "START LENGTH\n" of what is left when neighbours are joined.
type Merged struct {
	sum           hash.Hash
	start, end    int64
	areas, joined int64
	bytes         int64
}

func (m *Merged) add(area types.DiskChangeExtent) error {
	if area.Length <= 0 || area.Start < m.end {
		return fmt.Errorf("area %d+%d after the end of another at %d", area.Start, area.Length, m.end)
	}
	m.areas++
	m.bytes += area.Length
	if area.Start != m.end || m.end == 0 {
		m.close()
		m.start = area.Start
	}
	m.end = area.Start + area.Length
	return nil
}

func (m *Merged) close() {
	if m.end > m.start {
		m.joined++
		fmt.Fprintf(m.sum, "%d %d\n", m.start, m.end-m.start)
	}
}

// walk asks for all areas of a disk that changed, page by page; an empty page is no end.
// vm, or id: of the VM; snapshot: of it, or nothing; key: of the disk; capacity: its bytes;
// change: since when; areas=yes prints each page's areas.
func walk(ctx context.Context, s *Session, with Arguments) error {
	vm := types.ManagedObjectReference{Type: "VirtualMachine", Value: with["id"]}
	if vm.Value == "" {
		var err error
		if vm, err = vmNamed(ctx, s, with["vm"]); err != nil {
			return err
		}
	}
	ask := types.QueryChangedDiskAreas{
		This: vm, DeviceKey: int32(with.number("key", 2000)), ChangeId: with["change"],
	}
	if with["snapshot"] != "" {
		ask.Snapshot = &types.ManagedObjectReference{
			Type: "VirtualMachineSnapshot", Value: with["snapshot"]}
	}
	capacity := with.number("capacity", 0)
	found := Merged{sum: sha256.New()}
	pages, empty := 0, 0
	began := time.Now()
	for ask.StartOffset < capacity {
		answer, err := methods.QueryChangedDiskAreas(ctx, s.Client, &ask)
		if err != nil {
			return err
		}
		page := answer.Returnval
		if page.StartOffset != ask.StartOffset || page.Length <= 0 {
			return fmt.Errorf("asked from %d on, the page is %d+%d",
				ask.StartOffset, page.StartOffset, page.Length)
		}
		pages++
		if len(page.ChangedArea) == 0 {
			empty++
		}
		for _, area := range page.ChangedArea {
			if area.Start < page.StartOffset || area.Start+area.Length > page.StartOffset+page.Length {
				return fmt.Errorf("area %d+%d is not in the page %d+%d",
					area.Start, area.Length, page.StartOffset, page.Length)
			}
			if err := found.add(area); err != nil {
				return err
			}
		}
		if with["areas"] == "yes" {
			say(Line{"start": page.StartOffset, "length": page.Length, "areas": page.ChangedArea})
		}
		ask.StartOffset += page.Length
	}
	found.close()
	say(Line{
		"pages": pages, "empty": empty, "areas": found.areas, "joined": found.joined,
		"bytes": found.bytes, "digest": hex.EncodeToString(found.sum.Sum(nil)),
		"seconds": time.Since(began).Seconds(),
	})
	return nil
}
