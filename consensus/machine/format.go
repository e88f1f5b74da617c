package machine

import (
	"errors"
	"fmt"

	"github.com/coinop/coinop/funding"
)

// FormatMax is the newest format that this code reads; each new kind of entry raises it.
const FormatMax = 1

// ErrNewer means that a state or an entry was made by a newer build and can't be read by this one. It is no refusal: what
// this build made of it would not be what the others have.
var ErrNewer = errors.New("it is of a newer coinop: start that one here, this one would read it wrong")

func newer(format uint32) error {
	return fmt.Errorf("the cluster's format is %d, this coinop reads formats up to %d: %w", format, FormatMax, ErrNewer)
}

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
	if c.Format < tx.meta.Format {
		return nil, refuse(CodeStale, "the format is %d and does not go back to %d", tx.meta.Format, c.Format)
	}
	if c.Format > tx.meta.Format && tx.servers.len() == 0 {
		return nil, refuse(CodeStale, "there is no server that reads format %d", c.Format)
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
	// Every server has said that it reads it, so this one has been replaced by an older build since. What comes before is
	// decided alike by builds that read the format and builds that don't.
	if c.Format > FormatMax {
		return nil, newer(c.Format)
	}
	if c.Format != tx.meta.Format {
		tx.meta.Format = c.Format
		tx.emit(Event{Kind: EventFormat})
	}
	return FormatAnswer{Format: tx.meta.Format}, nil
}
