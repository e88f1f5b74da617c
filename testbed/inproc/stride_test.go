//go:build !e2e

package inproc

// strideOtherwise is odd, so that steps before and after something are both met.
const strideOtherwise = 23
