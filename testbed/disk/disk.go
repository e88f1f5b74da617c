// Package disk is a file system over a folder whose disk fails, is slow or takes no writes when a test says so.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is a mounted folder. Its methods may be called while it is used.
type Disk struct {
	At     string // where it is mounted
	server *fuse.Server
	flush  atomic.Int64 // the errno that a flush to the disk ends with
	write  atomic.Int64 // and whatever changes something
	slow   atomic.Int64 // nanoseconds that a flush takes
}

// ErrNone says that this machine, or this user, cannot mount one.
var ErrNone = errors.New("no FUSE here")

// Mount shows a folder at another, empty one, through a disk that is well at first.
func Mount(from, at string) (*Disk, error) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	d := &Disk{At: at}
	root := &fs.LoopbackRoot{Path: from}
	top := &node{LoopbackNode: &fs.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = top
	server, err := fs.Mount(at, top, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, FsName: "coinop-test", Name: "coinop-test",
	}})
	if err != nil {
		return nil, fmt.Errorf("mount a disk at %s: %w", at, err)
	}
	d.server = server
	return d, nil
}

// Unmount takes it away; nobody may use it any more. Where somebody does, it goes when they end, and that is an error.
func (d *Disk) Unmount() error {
	err := d.server.Unmount()
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("unmount the disk at %s: %w", d.At, err), syscall.Unmount(d.At, syscall.MNT_DETACH))
}

// FailFlush has each flush fail from now on; 0: succeed.
func (d *Disk) FailFlush(with syscall.Errno) { d.flush.Store(int64(with)) }

// FailWrite has each change fail from now on: EROFS, ENOSPC, EIO; 0: succeed.
func (d *Disk) FailWrite(with syscall.Errno) { d.write.Store(int64(with)) }

// Slow is how long each flush takes from now on.
func (d *Disk) Slow(flush time.Duration) { d.slow.Store(int64(flush)) }

func (d *Disk) changed() syscall.Errno { return syscall.Errno(d.write.Load()) }

// node is a file or a folder.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

// WrapChild is part of fs.NodeWrapChilder.
func (n *node) WrapChild(_ context.Context, of fs.InodeEmbedder) fs.InodeEmbedder {
	if plain, ok := of.(*fs.LoopbackNode); ok {
		return &node{LoopbackNode: plain, disk: n.disk}
	}
	return of
}

// handle is an open file that the kernel does not read and write past us.
type handle struct{ *fs.LoopbackFile }

// PassthroughFd is part of fs.FilePassthroughFder.
func (handle) PassthroughFd() (int, bool) { return 0, false }

func handleOf(f fs.FileHandle) fs.FileHandle {
	if f, ok := f.(*fs.LoopbackFile); ok {
		return handle{f}
	}
	return f
}

const writing = syscall.O_WRONLY | syscall.O_RDWR | syscall.O_TRUNC

// Open is part of fs.NodeOpener.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := n.disk.changed(); e != 0 && flags&writing != 0 {
		return nil, 0, e
	}
	f, flags, e := n.LoopbackNode.Open(ctx, flags)
	return handleOf(f), flags, e
}

// Create is part of fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if e := n.disk.changed(); e != 0 {
		return nil, nil, 0, e
	}
	i, f, flags, e := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return i, handleOf(f), flags, e
}

// Write is part of fs.NodeWriter.
func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	if e := n.disk.changed(); e != 0 {
		return 0, e
	}
	if f, ok := f.(fs.FileWriter); ok {
		return f.Write(ctx, data, at)
	}
	return 0, syscall.EBADF
}

// Fsync is part of fs.NodeFsyncer. Folders go past it.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if slow := time.Duration(n.disk.slow.Load()); slow > 0 {
		<-time.After(slow)
	}
	if e := syscall.Errno(n.disk.flush.Load()); e != 0 {
		return e
	}
	if e := n.disk.changed(); e != 0 {
		return e
	}
	if f, ok := f.(fs.FileFsyncer); ok {
		return f.Fsync(ctx, flags)
	}
	return 0
}

// Mkdir is part of fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.disk.changed(); e != 0 {
		return nil, e
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

// Rename is part of fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	if e := n.disk.changed(); e != 0 {
		return e
	}
	return n.LoopbackNode.Rename(ctx, name, to, toName, flags)
}

// Unlink is part of fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if e := n.disk.changed(); e != 0 {
		return e
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// Setattr is part of fs.NodeSetattrer.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if e := n.disk.changed(); e != 0 {
		return e
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}
