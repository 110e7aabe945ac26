package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// file fetches a datastore's file whole, a range of it, and asks for its size; or puts one there.
// store: the datastore; path: of the file; start, length: of the range; put: text to put there.
func file(ctx context.Context, s *Session, with Arguments) error {
	finder := find.NewFinder(s.Client.Client)
	center, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		return err
	}
	finder.SetDatacenter(center)
	store, err := finder.Datastore(ctx, with["store"])
	if err != nil {
		return err
	}
	if text, puts := with["put"]; puts {
		upload := soap.DefaultUpload
		upload.ContentLength = int64(len(text))
		at := store.NewURL(with["path"])
		if err := s.Client.Upload(ctx, strings.NewReader(text), at, &upload); err != nil {
			return err
		}
	}
	at := store.NewURL(with["path"])
	body, length, err := s.Client.Download(ctx, at, &soap.DefaultDownload)
	if err != nil {
		return err
	}
	defer body.Close()
	sum := sha256.New()
	read, err := io.Copy(sum, body)
	if err != nil {
		return err
	}
	line := Line{"length": length, "read": read, "digest": hex.EncodeToString(sum.Sum(nil))}
	if err := headAndSeek(ctx, store, with, line); err != nil {
		return err
	}
	say(line)
	return nil
}

// headAndSeek reads a range as a random-access reader does: HEAD, then GET with a range.
func headAndSeek(ctx context.Context, store *object.Datastore, with Arguments, line Line) error {
	opened, err := store.Open(ctx, with["path"])
	if err != nil {
		return err
	}
	defer opened.Close()
	is, err := opened.Stat()
	if err != nil {
		return err
	}
	line["size"] = is.Size()
	if _, err := opened.Seek(with.number("start", 0), io.SeekStart); err != nil {
		return err
	}
	part := make([]byte, with.number("length", 0))
	if _, err := io.ReadFull(opened, part); err != nil {
		return err
	}
	sum := sha256.Sum256(part)
	line["part"] = hex.EncodeToString(sum[:])
	return nil
}

// export reads a VM's disks through a lease into a directory (to), and has its OVF descriptor made.
func export(ctx context.Context, s *Session, with Arguments) error {
	vm, err := machine(ctx, s, with)
	if err != nil {
		return err
	}
	lease, err := vm.Export(ctx)
	if err != nil {
		return err
	}
	info, err := lease.Wait(ctx, nil)
	if err != nil {
		return err
	}
	updater := lease.StartUpdater(ctx, info)
	files := []types.OvfFile{}
	for _, item := range info.Items {
		to := filepath.Join(with["to"], filepath.Base(item.Path))
		if err := lease.DownloadFile(ctx, to, item, soap.DefaultDownload); err != nil {
			return err
		}
		got, err := os.Stat(to)
		if err != nil {
			return err
		}
		say(Line{"file": to, "bytes": got.Size(), "device": item.DeviceId})
		one := item.File()
		one.Size = got.Size()
		files = append(files, one)
	}
	updater.Done()
	if err := lease.Complete(ctx); err != nil {
		return err
	}
	made, err := ovf.NewManager(s.Client.Client).CreateDescriptor(
		ctx, vm, types.OvfCreateDescriptorParams{Name: with["vm"], OvfFiles: files})
	if err != nil {
		return err
	}
	say(Line{"descriptor": made.OvfDescriptor, "status": http.StatusText(http.StatusOK)})
	return nil
}
