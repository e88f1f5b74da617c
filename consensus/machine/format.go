package machine

import (
	"github.com/coinop/coinop/funding"
)

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

func (c Format) apply(tx *Tx, _ funding.Millis) (any, error) {
	switch {
	case c.Format > FormatMax:
		return nil, refuse(CodeFormat, "format %d is not known here, the newest is %d", c.Format, FormatMax)
	case c.Format < tx.meta.Format:
		return nil, refuse(CodeStale, "the format is %d and does not go back to %d", tx.meta.Format, c.Format)
	}
	var lagging string
	tx.servers.scan("", func(id string, server *Server) bool {
		if server.Reads < c.Format {
			lagging = id
		}
		return lagging == ""
	})
	if lagging != "" {
		return nil, refuse(CodeStale, "server %s cannot read format %d yet", lagging, c.Format)
	}
	if c.Format != tx.meta.Format {
		tx.meta.Format = c.Format
		tx.emit(Event{Kind: EventFormat})
	}
	return FormatAnswer{Format: tx.meta.Format}, nil
}
