package cashu

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// KeysetID names a keyset: 66 hexadecimal digits beginning with 01, or the older
// 16 digits beginning with 00. Within a token also the first 16 digits of the
// longer form, which is called short.
type KeysetID string

const (
	keysetIDLong  = 66
	keysetIDShort = 16
	keysMax       = 64
)

var errKeysetID = errors.New("not a keyset id (66 hexadecimal digits beginning with 01, or 16 beginning with 00)")

// ParseKeysetID reads an id, short ones too, see [KeysetID.IsShort].
func ParseKeysetID(text string) (KeysetID, error) {
	long := len(text) == keysetIDLong && text[:2] == "01"
	short := len(text) == keysetIDShort && (text[:2] == "00" || text[:2] == "01")
	if !long && !short {
		return "", errKeysetID
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", errKeysetID
		}
	}
	return KeysetID(text), nil
}

// UnmarshalText reads an id.
func (id *KeysetID) UnmarshalText(text []byte) error {
	read, err := ParseKeysetID(string(text))
	if err != nil {
		return err
	}
	*id = read
	return nil
}

// IsShort reports whether the id is the beginning of a longer one.
func (id KeysetID) IsShort() bool {
	return len(id) == keysetIDShort && id[:2] == "01"
}

// Bytes are the id's raw bytes.
func (id KeysetID) Bytes() []byte {
	raw, err := hex.DecodeString(string(id))
	if err != nil {
		return nil
	}
	return raw
}

// Resolve finds the id that a short one stands for. Two candidates are refused:
// the coin could be of either.
func (id KeysetID) Resolve(known []KeysetID) (KeysetID, error) {
	if !id.IsShort() {
		return id, nil
	}
	var found KeysetID
	for _, candidate := range known {
		if candidate == found || !strings.HasPrefix(string(candidate), string(id)) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("short keyset id %s stands for both %s and %s", id, found, candidate)
		}
		found = candidate
	}
	if found == "" {
		return "", fmt.Errorf("short keyset id %s stands for no keyset of this mint", id)
	}
	return found, nil
}

// Key is the public key by which coins of one amount are signed.
type Key struct {
	Amount Units `cbor:"1,keyasint"`
	Point  Point `cbor:"2,keyasint"`
}

// Keys are a keyset's public keys, the smallest amount first. In JSON they are
// an object {"1": "02…", "2": "03…"}.
type Keys []Key

// For finds the key of an amount.
func (k Keys) For(amount Units) (Point, bool) {
	i := sort.Search(len(k), func(i int) bool { return k[i].Amount >= amount })
	if i == len(k) || k[i].Amount != amount {
		return Point{}, false
	}
	return k[i].Point, true
}

// MarshalJSON writes the protocol's object, in the order of amounts.
func (k Keys) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, key := range k {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '"')
		out = strconv.AppendUint(out, uint64(key.Amount), 10)
		out = append(out, `":"`...)
		out = hex.AppendEncode(out, key.Point[:])
		out = append(out, '"')
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads the protocol's object and refuses amounts written
// otherwise than in plain decimals, twice, or none, and invalid points.
func (k *Keys) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.New("read keys: not an object of amounts and points")
	}
	var read Keys
	for decoder.More() {
		key, err := readKey(decoder)
		if err != nil {
			return err
		}
		if len(read) == keysMax {
			return fmt.Errorf("read keys: more than %d", keysMax)
		}
		read = append(read, key)
	}
	sort.Slice(read, func(i, j int) bool { return read[i].Amount < read[j].Amount })
	for i := 1; i < len(read); i++ {
		if read[i-1].Amount == read[i].Amount {
			return fmt.Errorf("read keys: amount %d twice", read[i].Amount)
		}
	}
	if len(read) == 0 {
		return errors.New("read keys: none")
	}
	*k = read
	return nil
}

func readKey(decoder *json.Decoder) (Key, error) {
	var key Key
	token, err := decoder.Token()
	if err != nil {
		return key, fmt.Errorf("read keys: %w", err)
	}
	name, _ := token.(string)
	amount, err := strconv.ParseUint(name, 10, 64)
	if err != nil || amount == 0 || strconv.FormatUint(amount, 10) != name {
		return key, fmt.Errorf("read keys: %q is not an amount", name)
	}
	key.Amount = Units(amount)
	if err := decoder.Decode(&key.Point); err != nil {
		return key, fmt.Errorf("read keys: amount %d: %w", amount, err)
	}
	if key.Point.IsZero() {
		return key, fmt.Errorf("read keys: amount %d: no key", amount)
	}
	return key, nil
}

// IDv2 derives the id of a keyset (NUT-02). Zero means no fee and no expiry.
func (k Keys) IDv2(unit string, inputFeePPK uint64, finalExpiry int64) KeysetID {
	var text strings.Builder
	for i, key := range k {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%d:%s", key.Amount, key.Point)
	}
	fmt.Fprintf(&text, "|unit:%s", strings.ToLower(unit))
	if inputFeePPK != 0 {
		fmt.Fprintf(&text, "|input_fee_ppk:%d", inputFeePPK)
	}
	if finalExpiry != 0 {
		fmt.Fprintf(&text, "|final_expiry:%d", finalExpiry)
	}
	sum := sha256.Sum256([]byte(text.String()))
	return KeysetID("01" + hex.EncodeToString(sum[:]))
}

// IDv1 derives the older, shorter id, by which other mints' keysets are checked.
func (k Keys) IDv1() KeysetID {
	hash := sha256.New()
	for _, key := range k {
		hash.Write(key.Point[:])
	}
	return KeysetID("00" + hex.EncodeToString(hash.Sum(nil))[:14])
}
