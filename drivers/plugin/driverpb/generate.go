// Package driverpb is the driver contract as it goes over a socket; only package plugin uses it.
package driverpb

//go:generate go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate
