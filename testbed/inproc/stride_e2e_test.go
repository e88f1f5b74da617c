//go:build e2e

package inproc

// strideOtherwise kills at every step.
const strideOtherwise = 1
