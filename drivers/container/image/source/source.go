package source

import "errors"

// ErrBad: the image cannot be used as it is, however often it is asked for.
var ErrBad = errors.New("the image cannot be used")
