package wallet

const schemaFormat = "2"

// Keys lie as amount and point, 41 bytes each: they were checked when they came,
// and reading them back must not cost a square root each.
//
// Coins belong to a keyset and a keyset to a mint; a mint may have several
// addresses. Amounts are whole units. A coin's secret and blinding factor are
// kept though they follow from the counter, because coins that came in a token
// have none. A seal is a sum over the columns that never change, and the mirror of a counter has all its bits turned.
// What remains, indexes and states, is checked once a day.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE mints (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, seal INTEGER NOT NULL) STRICT;
CREATE TABLE addresses (
	url TEXT PRIMARY KEY, mint INTEGER NOT NULL REFERENCES mints, seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE keysets (
	id TEXT PRIMARY KEY, mint INTEGER NOT NULL REFERENCES mints, unit TEXT NOT NULL,
	active INTEGER NOT NULL, listed INTEGER NOT NULL, fee INTEGER NOT NULL, expiry INTEGER NOT NULL,
	keys BLOB NOT NULL, counter INTEGER NOT NULL DEFAULT 0, mirror INTEGER NOT NULL DEFAULT -1,
	seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE payments (
	id TEXT PRIMARY KEY, mint INTEGER NOT NULL REFERENCES mints, kind TEXT NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('open', 'paid', 'done', 'refused')),
	owner TEXT NOT NULL, purpose TEXT NOT NULL, unit TEXT NOT NULL, pay INTEGER NOT NULL, fee INTEGER NOT NULL,
	method TEXT NOT NULL, path TEXT NOT NULL, request BLOB NOT NULL, secret BLOB NOT NULL, at INTEGER NOT NULL,
	seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_by_state ON payments (state, kind);
CREATE TABLE coins (
	secret TEXT PRIMARY KEY, keyset TEXT NOT NULL REFERENCES keysets, amount INTEGER NOT NULL, c BLOB NOT NULL,
	e BLOB, s BLOB, r BLOB, payment TEXT REFERENCES payments,
	seal INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX coins_by_payment ON coins (payment);
CREATE INDEX coins_by_amount ON coins (keyset, amount);
CREATE TABLE outputs (
	payment TEXT NOT NULL REFERENCES payments, blank INTEGER NOT NULL CHECK (blank IN (0, 1)), place INTEGER NOT NULL,
	keyset TEXT NOT NULL REFERENCES keysets, counter INTEGER NOT NULL, amount INTEGER NOT NULL, b BLOB NOT NULL,
	seal INTEGER NOT NULL, PRIMARY KEY (payment, blank, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE history (
	number INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, mint INTEGER NOT NULL REFERENCES mints,
	unit TEXT NOT NULL, amount INTEGER NOT NULL, purpose TEXT NOT NULL, payment TEXT NOT NULL
) STRICT;
CREATE TABLE secrets (
	secret BLOB PRIMARY KEY, mint INTEGER NOT NULL REFERENCES mints, kind TEXT NOT NULL, number INTEGER NOT NULL,
	name TEXT NOT NULL, payment TEXT NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_by_number ON secrets (mint, kind, number);
CREATE TABLE quotekeys (
	pubkey BLOB PRIMARY KEY, number INTEGER NOT NULL UNIQUE
) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (
	id TEXT PRIMARY KEY, mint INTEGER NOT NULL REFERENCES mints, amount INTEGER NOT NULL, token TEXT NOT NULL, at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`
