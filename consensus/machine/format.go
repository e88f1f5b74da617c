package machine

// FormatMax is the newest format that this code reads; each new kind of entry raises it.
const FormatMax = 1

// Format raises the state's format, once every voter reads it.
type Format struct {
	Format uint32 `cbor:"1,keyasint"`
}

// FormatAnswer is the format after the entry.
type FormatAnswer struct {
	Format uint32 `cbor:"1,keyasint"`
}

// Kind is part of [Command].
func (Format) Kind() Kind { return KindFormat }
