package scheduler

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

var (
	workEncoder = known(cbor.CoreDetEncOptions().EncMode())
	workDecoder = known(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  ItemsMax,
		MaxMapPairs:       ItemsMax,
		MaxNestedLevels:   4,
	}.DecMode())
)

// known is for modes whose options are constants.
func known[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}

// Encode is the work as a job's Spec holds it: the same bytes for the same work.
func (w Work) Encode() ([]byte, error) {
	b, err := workEncoder.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode work: %w", err)
	}
	if len(b) > SpecMax {
		return nil, tooLong(len(b))
	}
	return b, nil
}

func tooLong(size int) error {
	return &LimitError{What: "command, script, variables and names of files together", Max: SpecMax, Got: int64(size), Unit: "bytes"}
}

// DecodeWork reads what Encode wrote. Unknown fields, duplicates, indefinite lengths and bytes left
// over are refused.
func DecodeWork(spec []byte) (Work, error) {
	var w Work
	if len(spec) > SpecMax {
		return w, tooLong(len(spec))
	}
	if err := workDecoder.Unmarshal(spec, &w); err != nil {
		return w, fmt.Errorf("decode work: %w", err)
	}
	return w, nil
}
