package machine

import "github.com/coinop/coinop/funding"

// Role is what a token allows.
type Role uint8

// Roles: operators run the cluster, submitters use trusted pools, viewers see private parts;
// join tokens let one server or one executor in.
const (
	RoleOperator Role = iota + 1
	RoleSubmit
	RoleView
	RoleJoinServer
	RoleJoinExecutor
)

// Token makes a token known by its hash, or revokes one.
type Token struct {
	Hash    TokenHash      `cbor:"1,keyasint"`
	Role    Role           `cbor:"2,keyasint,omitempty"`
	Name    string         `cbor:"3,keyasint,omitempty"` // for the list: whose it is
	Until   funding.Millis `cbor:"4,keyasint,omitempty"` // zero: for good; a join token always has one
	Revoked bool           `cbor:"5,keyasint,omitempty"`
	By      TokenHash      `cbor:"6,keyasint,omitzero"` // whose decision it is; zero: a server's own
}

// TokenAnswer is empty: a token is known or not.
type TokenAnswer struct{}

// Kind is part of [Command].
func (Token) Kind() Kind { return KindToken }
