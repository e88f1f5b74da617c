package machine

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding"
	"github.com/fxamacker/cbor/v2"
)

// EntryBytesMax bounds an encoded entry: the largest is a batch of reports.
const EntryBytesMax = 4 << 20

// Command is what an entry asks for: one exported struct a kind.
type Command interface {
	Kind() Kind
}

// applier is a command that the machine can carry out.
type applier interface {
	Command
	apply(tx *Tx, at funding.Millis) (answer any, err error)
}

// envelope is an entry's bytes: three elements, so that kind and time are read before the body.
type envelope struct {
	_    struct{} `cbor:",toarray"`
	Kind Kind
	At   funding.Millis
	Body cbor.RawMessage
}

var (
	encoder = must(cbor.CoreDetEncOptions().UserBufferEncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  131_072,
		MaxMapPairs:       65_536,
	}.DecMode())
)

// must is for the two modes above, whose options are constants.
func must[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}

// Encode writes an entry: the command and the time at which the leader proposes it. The bytes are
// the same for the same command, always.
func Encode(at funding.Millis, c Command) ([]byte, error) {
	body, err := encoder.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode entry of kind %d: %w", c.Kind(), err)
	}
	entry, err := encoder.Marshal(envelope{Kind: c.Kind(), At: at, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode entry of kind %d: %w", c.Kind(), err)
	}
	if len(entry) > EntryBytesMax {
		return nil, fmt.Errorf("encode entry of kind %d: %d bytes, the limit is %d", c.Kind(), len(entry), EntryBytesMax)
	}
	return entry, nil
}

var errNotCanonical = errors.New("it is not in the one form that this command has")

// Decode reads an entry; the command is a pointer to its kind's struct. It takes exactly what
// [Encode] writes: unknown or repeated fields, trailing bytes, other orders and other lengths of
// the same numbers are refused, so that a command has one form of bytes.
func Decode(entry []byte) (funding.Millis, Command, error) {
	at, c, err := decode(entry)
	if err != nil {
		return 0, nil, err
	}
	again, err := Encode(at, c)
	if err != nil || !bytes.Equal(again, entry) {
		return 0, nil, fmt.Errorf("decode entry of kind %d: %w", c.Kind(), errNotCanonical)
	}
	return at, c, nil
}

// Entry is an entry of the log that has been read; what is wrong with it Apply says.
type Entry struct {
	at      funding.Millis
	command Command
	err     error
}

// Read reads the bytes of an entry of the log.
func Read(entry []byte) (e Entry) {
	e.at, e.command, e.err = decode(entry)
	return e
}

// decode is Decode for bytes that are in the log: whoever proposed them has written them with
// Encode, or was looked at by Decode.
func decode(entry []byte) (funding.Millis, Command, error) {
	if len(entry) > EntryBytesMax {
		return 0, nil, fmt.Errorf("decode entry: %d bytes, the limit is %d", len(entry), EntryBytesMax)
	}
	kind, at, body, err := unwrap(entry)
	if err != nil {
		return 0, nil, fmt.Errorf("decode entry: %w", err)
	}
	c := commandOf(kind)
	if c == nil {
		return 0, nil, fmt.Errorf("decode entry: kind %d is unknown", kind)
	}
	if err := decoder.Unmarshal(body, c); err != nil {
		return 0, nil, fmt.Errorf("decode entry of kind %d: %w", kind, err)
	}
	return at, c, nil
}

// unwrap takes an envelope apart. Decoding it whole would look through the body and copy it, which is then done again.
func unwrap(entry []byte) (kind Kind, at funding.Millis, body []byte, err error) {
	const three = 0x83 // an array of three elements, RFC 8949 section 3.1
	if len(entry) == 0 || entry[0] != three {
		return 0, 0, nil, errors.New("it is no array of kind, time and body")
	}
	if body, err = decoder.UnmarshalFirst(entry[1:], &kind); err == nil {
		body, err = decoder.UnmarshalFirst(body, &at)
	}
	return kind, at, body, err
}

// DecodeAnswer reads the answer of a result into its kind's answer struct.
func DecodeAnswer(answer []byte, into any) error {
	if err := decoder.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// commandOf makes an empty command of a kind, nil where there is none.
func commandOf(k Kind) Command {
	switch k {
	case KindSubmit:
		return new(Submit)
	case KindDeposit:
		return new(Deposit)
	case KindPotCreate:
		return new(PotCreate)
	case KindPotClose:
		return new(PotClose)
	case KindSwap:
		return new(Swap)
	case KindMintQuote:
		return new(MintQuote)
	case KindMint:
		return new(Mint)
	case KindClaim:
		return new(Claim)
	case KindCancel:
		return new(Cancel)
	case KindOnHold:
		return new(OnHold)
	case KindJobCap:
		return new(JobCap)
	case KindPlace:
		return new(Place)
	case KindReport:
		return new(Report)
	case KindPrice:
		return new(Price)
	case KindPulse:
		return new(Pulse)
	case KindForget:
		return new(Forget)
	}
	return operatorCommandOf(k)
}

func operatorCommandOf(k Kind) Command {
	switch k {
	case KindInit:
		return new(Init)
	case KindPoolSet:
		return new(PoolSet)
	case KindNodeJoin:
		return new(NodeJoin)
	case KindNodeUpdate:
		return new(NodeUpdate)
	case KindNodeState:
		return new(NodeState)
	case KindToken:
		return new(Token)
	case KindKeyset:
		return new(Keyset)
	case KindServer:
		return new(Server)
	case KindFormat:
		return new(Format)
	case KindReconcile:
		return new(Reconcile)
	case KindMintURL:
		return new(MintURL)
	}
	return nil
}
