package api

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

// The words by which states and reasons are known outside. They never change: scripts match them.

func potState(s funding.PotState) string {
	return word("pot state", int(s), "open", "closing", "closed")
}

func modeWord(m funding.Mode) string { return word("mode", int(m), "safe", "stream") }

func wayBack(w funding.Way) string { return word("way back", int(w), "blanks", "claim", "donate") }

func roleWord(r machine.Role) string {
	return word("role", int(r), "operator", "submit", "view", "server", "executor")
}

// word picks from a list that is numbered from 1.
func word(what string, n int, words ...string) string {
	if n < 1 || n > len(words) {
		return fmt.Sprintf("%s %d", what, n)
	}
	return words[n-1]
}

// clock is cluster time as people write it; it counts from 1970 like everybody's.
func clock(at funding.Millis) time.Time { return time.UnixMilli(int64(at)).UTC() }

// clockOf is nil for a time that has not come.
func clockOf(at funding.Millis) *time.Time {
	if at == 0 {
		return nil
	}
	t := clock(at)
	return &t
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// now is the wall clock, for what is no part of the state.
func now() time.Time { return time.Now() }

// clusterNow is cluster time for what is metered while it is looked at.
func (a *API) clusterNow(v *machine.View) funding.Millis {
	if a.config.Now != nil {
		return max(v.At(), a.config.Now())
	}
	return max(v.At(), funding.Millis(time.Now().UnixMilli()))
}
