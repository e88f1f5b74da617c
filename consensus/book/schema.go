package book

// Events are kept whole; what is asked for often has a column and an index of its own. Jobs are a
// sum over their events, so that a list of them need not look at each.
const schema = `
CREATE TABLE IF NOT EXISTS events (
	seq  INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL,
	kind TEXT    NOT NULL,
	job  INTEGER NOT NULL,
	pot  INTEGER NOT NULL,
	pool INTEGER NOT NULL,
	body BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_job      ON events (job, seq)  WHERE job <> 0;
CREATE INDEX IF NOT EXISTS events_deposit  ON events (pot, seq)  WHERE kind = 'deposit';
CREATE INDEX IF NOT EXISTS events_price    ON events (pool, seq) WHERE kind IN ('price', 'pool');
CREATE INDEX IF NOT EXISTS events_transfer ON events (pot, seq)  WHERE kind = 'transfer';
CREATE TABLE IF NOT EXISTS jobs (
	job       INTEGER PRIMARY KEY,
	pool      INTEGER NOT NULL,
	pot       INTEGER NOT NULL,
	bid       INTEGER NOT NULL,
	weight    INTEGER NOT NULL,
	submitted INTEGER NOT NULL,
	started   INTEGER NOT NULL DEFAULT 0,
	ended     INTEGER NOT NULL DEFAULT 0,
	reason    INTEGER NOT NULL DEFAULT 0,
	exit      INTEGER NOT NULL DEFAULT 0,
	charged   INTEGER NOT NULL DEFAULT 0,
	receipt   BLOB,
	first     INTEGER NOT NULL, -- numbers of the events that made it and ended it
	final     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended, job) WHERE ended <> 0;
CREATE TABLE IF NOT EXISTS holes (
	first INTEGER PRIMARY KEY, -- events that no server has any more
	last  INTEGER NOT NULL
) STRICT;
`
