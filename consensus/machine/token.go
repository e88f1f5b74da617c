package machine

import (
	"github.com/coinop/coinop/funding"
)

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

// Bounds of tokens.
const (
	TokensMax     = 10_000
	JoinTermMax   = funding.Millis(24 * 3_600_000) // a join token's; an hour is usual
	tokenNameMax  = 128
	joinTokenUsed = "it let someone in before; ask the operator for another"
)

// Good says whether a token may be used at a time.
func (t *TokenRecord) Good(at funding.Millis) bool { return !t.Used && (t.Until == 0 || at < t.Until) }

func (c Token) apply(tx *Tx, at funding.Millis) (any, error) {
	if c.By != (TokenHash{}) {
		if err := tx.checkToken(c.By, at, RoleOperator); err != nil {
			return nil, err
		}
	}
	if c.Revoked {
		return TokenAnswer{}, tx.revoke(c.Hash, at)
	}
	join := c.Role == RoleJoinServer || c.Role == RoleJoinExecutor
	switch {
	case c.Hash == (TokenHash{}) || c.Role < RoleOperator || c.Role > RoleJoinExecutor:
		return nil, refuse(CodeInvalid, "a token needs a hash and one of the roles")
	case c.Until != 0 && c.Until <= at:
		return nil, refuse(CodeInvalid, "the token would end at %d, and it is %d", c.Until, at)
	case join && (c.Until == 0 || c.Until > at+JoinTermMax):
		return nil, refuse(CodeLimit, "a join token ends within %d hours", JoinTermMax/3_600_000)
	case len(c.Name) > tokenNameMax:
		return nil, refuse(CodeLimit, "a token's name has at most %d bytes", tokenNameMax)
	case tx.tokens.len() >= TokensMax:
		return nil, refuse(CodeLimit, "there are %d tokens, the limit; revoke some", TokensMax)
	}
	record := &TokenRecord{Hash: c.Hash, Role: c.Role, Name: c.Name, Until: c.Until, Made: at}
	if before, ok := tx.tokens.get(c.Hash); ok {
		if before.Role == c.Role && before.Name == c.Name && before.Until == c.Until {
			return TokenAnswer{}, nil // the same once more
		}
		return nil, refuse(CodeRequestConflict, "there is a token of this hash with another role, name or end")
	}
	tx.tokens.put(c.Hash, record)
	tx.emit(Event{Kind: EventToken, Text: c.Name, Until: c.Until})
	return TokenAnswer{}, nil
}

// revoke ends a token at once. The last operator's stays, or nobody could make another.
func (tx *Tx) revoke(hash TokenHash, at funding.Millis) error {
	token, ok := tx.tokens.get(hash)
	if !ok {
		return refuse(CodeTokenUnknown, "there is no token of this hash")
	}
	others := 0
	tx.tokens.scan(TokenHash{}, func(other TokenHash, t *TokenRecord) bool {
		if other != hash && t.Role == RoleOperator && t.Until == 0 {
			others++
		}
		return others == 0
	})
	if token.Role == RoleOperator && others == 0 && token.Good(at) {
		return refuse(CodeLimit, "this is the last operator's token; make another first")
	}
	tx.tokens.del(hash)
	tx.emit(Event{Kind: EventToken, Text: token.Name})
	return nil
}

// checkToken refuses a token that is unknown, over or of no such role.
func (tx *Tx) checkToken(hash TokenHash, at funding.Millis, role Role) error {
	token, ok := tx.tokens.get(hash)
	switch {
	case !ok:
		return refuse(CodeTokenUnknown, "this token is unknown")
	case token.Used:
		return refuse(CodeTokenUsed, joinTokenUsed)
	case !token.Good(at):
		return refuse(CodeTokenExpired, "this token ended at %d", token.Until)
	case token.Role != role:
		return refuse(CodeRole, "this token is of another role")
	}
	return nil
}

// spendToken uses a join token up. It stays known until it ends, so that its second use is told apart from a wrong one.
func (tx *Tx) spendToken(hash TokenHash, at funding.Millis, role Role) error {
	if err := tx.checkToken(hash, at, role); err != nil {
		return err
	}
	used := *tx.tokens.must(hash)
	used.Used = true
	tx.tokens.put(hash, &used)
	return nil
}
