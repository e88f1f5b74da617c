// Package gpupb is the GPU contract as it goes over a socket; only package drivers/gpu/plugin uses it.
package gpupb

//go:generate go tool -modfile=../../../../tools/proto/go.mod buf generate
