// Package bad marks errors of images that can never be used as they are, in the words that the user reads.
package bad

import (
	"errors"
	"fmt"
)

// Image is what errors.Is finds in every such error.
var Image = errors.New("the image cannot be used")

// Errorf is fmt.Errorf, marked.
func Errorf(format string, args ...any) error { return marked{fmt.Errorf(format, args...)} }

type marked struct{ error }

func (m marked) Is(target error) bool { return target == Image }
func (m marked) Unwrap() error        { return m.error }
