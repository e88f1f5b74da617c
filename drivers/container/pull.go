package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/coinop/coinop/drivers"
	"github.com/coinop/coinop/drivers/container/image"
	"github.com/coinop/coinop/drivers/container/image/source"
)

// Registry is Images from registries, in a store on this machine.
type Registry struct {
	Store *image.Store
	Auth  source.Auth
	Local bool // also what lies on this machine itself: paths, and registries on loopback, which are not for strangers to name
}

// Hold implements Images. Whatever is wrong with an image, or with the registry that has it, is the wish's fault and not this
// machine's, where it would count against that.
func (r Registry) Hold(ctx context.Context, text, task string) (Image, error) {
	ref, err := source.Parse(text)
	if err != nil {
		return Image{}, fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
	}
	if ref.Local() && !r.Local {
		return Image{}, fmt.Errorf("%w: image %s lies on the machine itself, and this one's owner does not offer what is there", drivers.ErrInvalid, ref)
	}
	found, err := r.Store.Ensure(ctx, ref, r.Auth, nil)
	switch {
	case ctx.Err() != nil:
		return Image{}, fmt.Errorf("image %s: %w", ref, context.Cause(ctx))
	case errors.Is(err, image.ErrFull):
		return Image{}, err
	case err != nil:
		return Image{}, fmt.Errorf("%w: %w", drivers.ErrInvalid, err)
	}
	defer found.Release()
	if err := found.Hold(task); err != nil {
		return Image{}, err
	}
	run := found.Run
	return Image{Layers: found.Layers, Entrypoint: run.Entrypoint, Cmd: run.Cmd, WorkingDir: run.WorkDir, Env: run.Env, User: run.User}, nil
}

// Drop implements Images.
func (r Registry) Drop(task string) error { return r.Store.Drop(task) }
