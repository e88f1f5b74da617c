package cashu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// DecodeJSON reads one JSON value and nothing after it. Fields that are not
// known are passed over: the protocol's documents add some over time. The
// caller bounds the size.
func DecodeJSON(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read JSON: something follows it")
	}
	return nil
}

// decodeCBOR reads one CBOR value and nothing after it, refusing what nests
// deeply, repeats a key or claims more elements than any honest message has.
func decodeCBOR(data []byte, into any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  16,
		MaxArrayElements: tokenCoinsMax,
		MaxMapPairs:      64,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		return fmt.Errorf("read CBOR: %w", err)
	}
	if err := mode.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read CBOR: %w", err)
	}
	return nil
}
