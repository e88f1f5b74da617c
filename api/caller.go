package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

// caller is what a request says of who sends it.
type caller struct {
	addr     netip.Addr
	local    bool            // from this machine, and not by way of a web page
	key      funding.KeyHash // hash of the key shown as bearer; zero: none
	token    machine.TokenHash
	hasToken bool
	request  [16]byte // the idempotency key; zero: none
	index    uint64   // the highest that the client has seen
	owed     *int     // points that the request has cost; its own goroutine's
}

type callerKey struct{}

// callerOf is the caller of a request that came through the door.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// owes adds to what a request costs its address when it ends, beside the one point that every request costs.
func (c caller) owes(points int) {
	if c.owed != nil {
		*c.owed += points
	}
}

// paid says that a request has paid for the work that it made.
func (c caller) paid() {
	if c.owed != nil {
		*c.owed = 0
	}
}

// newCaller reads the headers that say who calls.
func (a *API) newCaller(r *http.Request) (caller, error) {
	var c caller
	c.addr = addrOf(r)
	// A page of another site that the user's browser shows comes from this machine too.
	c.local = c.addr.IsLoopback() && !fromPage(r)
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		c.key = hashKey(strings.TrimSpace(bearer))
	}
	if token := r.Header.Get(client.HeaderToken); token != "" {
		c.token, c.hasToken = sha256.Sum256([]byte(token)), true
	}
	if key := r.Header.Get(client.HeaderIdempotencyKey); key != "" {
		id, err := ulid.ParseStrict(key)
		if err != nil {
			return c, fail(codeBody, "Idempotency-Key %.40q is not a ULID (26 characters)", key)
		}
		c.request = id
	}
	return c, nil
}

func addrOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// fromPage reports whether a browser sent this for a web page: they all say so.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Header.Get("Origin") != "" || site != "" && site != "none"
}

// hostKnown reports whether a Host cannot be a stranger's name for this machine.
//
// Names can be pointed at us by whoever owns them; an address in a page's own URL cannot. No browser leaves Host out.
func (a *API) hostKnown(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.TrimSuffix(host, ".")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	for _, h := range a.config.Hosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	public, err := url.Parse(a.viewAt(0).MintURL())
	return err == nil && strings.EqualFold(public.Hostname(), host)
}

// hashKey is what the state knows of a key.
func hashKey(key string) funding.KeyHash { return sha256.Sum256([]byte(key)) }

// role finds what the caller's token allows; an unknown or old one is refused.
func (a *API) role(c caller, v *machine.View) (machine.Role, error) {
	if !c.hasToken {
		return 0, fail(codeTokenMissing, "this needs a token")
	}
	record, ok := v.Token(c.token)
	switch {
	case !ok:
		return 0, fail(string(machine.CodeTokenUnknown), "the token is not known")
	case record.Until != 0 && v.At() >= record.Until:
		return 0, fail(string(machine.CodeTokenExpired), "the token has expired")
	}
	return record.Role, nil
}

// operator refuses whoever is no operator, and every web page.
func (a *API) operator(ctx context.Context, v *machine.View) (machine.TokenHash, error) {
	c := callerOf(ctx)
	role, err := a.role(c, v)
	if err != nil {
		return c.token, err
	}
	if role != machine.RoleOperator {
		return c.token, fail(string(machine.CodeRole), "this needs a token of the role operator")
	}
	return c.token, nil
}

// maySee reports whether a caller may see what is private under these keys.
func (a *API) maySee(c caller, v *machine.View, keys ...funding.KeyHash) bool {
	if c.key != (funding.KeyHash{}) {
		for _, k := range keys {
			if k == c.key {
				return true
			}
		}
	}
	if !c.hasToken {
		return false
	}
	role, err := a.role(c, v)
	return err == nil && role == machine.RoleView
}

// parseHash reads 64 hex digits.
func parseHash(field, text string) ([32]byte, error) {
	var h [32]byte
	if len(text) != 2*len(h) {
		return h, fail(string(machine.CodeInvalid), "%s: want %d hex digits, there are %d characters", field, 2*len(h), len(text))
	}
	if _, err := hex.Decode(h[:], []byte(text)); err != nil {
		return h, fail(string(machine.CodeInvalid), "%s: %.20q is not hex", field, text)
	}
	return h, nil
}

// capOf reads a limit on what others may add; none is nil.
func capOf(micro *int64) (*funding.Amount, error) {
	if micro == nil {
		return nil, nil
	}
	if *micro < 0 || *micro > int64(funding.PotMax) {
		return nil, fail(codeAmount, "cap_others_micro: %d is not from 0 to %d", *micro, funding.PotMax)
	}
	limit := funding.Amount(*micro)
	return &limit, nil
}

// parseKeys reads the hashes of a job's or a pot's keys.
func parseKeys(k client.Keys) (funding.Keys, error) {
	var keys funding.Keys
	for _, f := range []struct {
		name string
		text string
		into *[32]byte
	}{
		{"keys.control", k.Control, (*[32]byte)(&keys.Control)},
		{"keys.view", k.View, (*[32]byte)(&keys.View)},
		{"keys.spend", k.Spend, (*[32]byte)(&keys.Spend)},
		{"keys.claim", k.Claim, (*[32]byte)(&keys.Claim)},
		{"keys.fund", k.Fund, (*[32]byte)(&keys.Fund)},
	} {
		hash, err := parseHash(f.name, f.text)
		if err != nil {
			return keys, err
		}
		if hash == ([32]byte{}) {
			return keys, fail(string(machine.CodeInvalid), "%s: is all zeros", f.name)
		}
		*f.into = hash
	}
	return keys, nil
}
