// Package driverpb is the driver contract as it goes over a socket; only package plugin uses it.
package driverpb

//go:generate go tool -modfile=../../../tools/proto/go.mod buf generate
