// Package image keeps the container images of a machine, unpacked, in one folder of limited size.
package image

import (
	"errors"

	"github.com/coinop/coinop/drivers/container/image/bad"
	"github.com/coinop/coinop/drivers/container/image/source"
)

var (
	// ErrFull: the store's limit, or its disk, leaves no room, and everything that it holds is in use.
	ErrFull = errors.New("the image store is full")
	// ErrBad: the image cannot be used as it is, however often it is asked for.
	ErrBad = bad.Image
)

// Image is an image whose layers are present and unpacked. It is held until Release.
type Image struct {
	Ref          source.Ref
	Digest       string // what the reference means now; of an index where the image is for several platforms
	Manifest     string // digest of this platform's manifest; the same as Digest where there is no index
	ConfigDigest string
	Architecture string   // as GOARCH
	Run          Run      // what the image says of how to run it
	Layers       []string // folders for overlayfs, lowest first
	UserXattr    bool     // the layers were unpacked by a plain user: mount with userxattr; all files are the user's own
	SizeBytes    int64    // unpacked, on disk, as it counts against the store's limit

	release func()
	hold    func(task string) error
}

// Run is what an image says of how to run it.
type Run struct {
	Entrypoint []string
	Cmd        []string
	Env        []string // NAME=value
	WorkDir    string
	User       string // name or number, with a group after a colon; empty: root
	StopSignal string
	Labels     map[string]string
}

// Progress is how far an Ensure has come.
type Progress struct {
	Layers     int
	LayersDone int
	Bytes      int64 // compressed, read so far
	BytesTotal int64 // of the layers that are not here yet; 0: unknown
}

// Release gives the image back; what no task holds may now be removed for others. It may be called again.
func (i *Image) Release() { i.release() }

// Hold keeps the image for a task, on disk, until Store.Drop: through Release, restarts and kill -9.
func (i *Image) Hold(task string) error { return i.hold(task) }
