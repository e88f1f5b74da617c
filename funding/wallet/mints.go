package wallet

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/coinop/coinop/funding/cashu"
)

// keyset is a keyset as the wallet knows it.
type keyset struct {
	id     cashu.KeysetID
	mint   int64
	unit   string
	active bool
	listed bool
	fee    uint64
	expiry int64
	keys   cashu.Keys
}

func normal(url string) string { return strings.TrimRight(strings.TrimSpace(url), "/") }

// Use makes a mint known, or fetches its keysets again. Several URLs are several
// addresses of one mint, which the caller vouches for: coins of the one are then
// sent to the others. A mint that shows another mint's keysets without that is
// refused, since it would be sent the other's coins.
//
// The first address that answers is asked; it fails with the last one's error
// where none does.
func (w *Wallet) Use(ctx context.Context, urls ...string) error {
	if len(urls) == 0 {
		return errors.New("use mint: no URL")
	}
	var failed error
	for _, url := range urls {
		listed, fresh, err := w.fetch(ctx, normal(url))
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		err = w.transact(ctx, func(tx local) error {
			mint, err := joinAddresses(tx, urls)
			if err != nil {
				return err
			}
			return storeKeysets(tx, mint, urls, listed, fresh)
		})
		if err != nil {
			return fmt.Errorf("use mint %s: %w", normal(url), err)
		}
		return nil
	}
	return fmt.Errorf("use mint: %w", failed)
}

// fetch lists a mint's keysets and gets the keys of those that are new here.
func (w *Wallet) fetch(ctx context.Context, url string) ([]cashu.KeysetInfo, map[cashu.KeysetID]cashu.Keys, error) {
	client := w.config.Mint(url)
	list, err := client.Keysets(ctx)
	if err != nil {
		return nil, nil, err
	}
	fresh := make(map[cashu.KeysetID]cashu.Keys)
	for _, info := range list.Keysets {
		if info.ID == "" || info.ID.IsShort() {
			return nil, nil, fmt.Errorf("the mint lists a keyset with id %q", info.ID)
		}
		var known bool
		if err := w.file.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM keysets WHERE id = ?)`, info.ID).Scan(&known); err != nil {
			return nil, nil, err
		}
		if known {
			continue
		}
		keys, err := client.Keys(ctx, info.ID)
		if err != nil {
			return nil, nil, err
		}
		if len(keys.Keysets) != 1 || keys.Keysets[0].ID != info.ID {
			return nil, nil, fmt.Errorf("the mint does not give the keys of its keyset %s", info.ID)
		}
		if err := (cashu.KeysetKeys{KeysetInfo: info, Keys: keys.Keysets[0].Keys}).Verify(); err != nil {
			return nil, nil, err
		}
		fresh[info.ID] = keys.Keysets[0].Keys
	}
	return list.Keysets, fresh, nil
}

// joinAddresses finds or makes the mint of some addresses.
func joinAddresses(tx local, urls []string) (int64, error) {
	var mint int64
	var first string
	for _, url := range urls {
		var other int64
		err := tx.QueryRow(`SELECT mint FROM addresses WHERE url = ?`, normal(url)).Scan(&other)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if mint != 0 && other != mint {
			return 0, fmt.Errorf("%s and %s are known as two mints and cannot become one", first, normal(url))
		}
		mint, first = other, normal(url)
	}
	if mint == 0 {
		result, err := tx.Exec(`INSERT INTO mints (url, seal) VALUES (?, ?)`, normal(urls[0]), seal(normal(urls[0])))
		if err != nil {
			return 0, err
		}
		if mint, err = result.LastInsertId(); err != nil {
			return 0, err
		}
	}
	for _, url := range urls {
		if _, err := tx.Exec(`INSERT INTO addresses (url, mint, seal) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			normal(url), mint, seal(normal(url), mint)); err != nil {
			return 0, err
		}
	}
	return mint, nil
}

func storeKeysets(tx local, mint int64, urls []string, listed []cashu.KeysetInfo, fresh map[cashu.KeysetID]cashu.Keys) error {
	if _, err := tx.Exec(`UPDATE keysets SET listed = 0 WHERE mint = ?`, mint); err != nil {
		return err
	}
	for _, info := range listed {
		var owner int64
		var url string
		err := tx.QueryRow(`SELECT mint, url FROM keysets JOIN mints ON mints.id = mint WHERE keysets.id = ?`, info.ID).Scan(&owner, &url)
		if err == nil && owner != mint {
			return fmt.Errorf("it shows a keyset of %s; if it is another address of the same mint, name both together (%s,%s)",
				url, url, normal(urls[0]))
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var expiry int64
		if info.FinalExpiry != nil {
			expiry = *info.FinalExpiry
		}
		if keys, isFresh := fresh[info.ID]; isFresh {
			packed := packKeys(keys)
			_, err := tx.Exec(`INSERT INTO keysets (id, mint, unit, active, listed, fee, expiry, keys, seal) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, info.ID, mint, info.Unit, info.Active, int64(info.InputFeePPK), expiry, packed,
				seal(info.ID, mint, info.Unit, info.InputFeePPK, expiry, packed))
			if err != nil {
				return err
			}
		}
		// The id commits to unit, fee and expiry; of what it lists again only
		// the state can have changed.
		if _, err := tx.Exec(`UPDATE keysets SET active = ?, listed = 1 WHERE id = ?`, info.Active, info.ID); err != nil {
			return err
		}
	}
	return nil
}

// query is what a transaction and a plain connection both can.
type query interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// ErrNoKeyset says that the mint had no keyset in use when [Wallet.Use] asked it last.
var ErrNoKeyset = errors.New("the mint has no active keyset")

// ErrMintUnknown says that a mint was not made known with [Wallet.Use].
var ErrMintUnknown = errors.New("this mint is not known to the wallet yet")

func mintOf(ctx context.Context, q query, url string) (int64, error) {
	var mint int64
	err := q.QueryRowContext(ctx, `SELECT mint FROM addresses WHERE url = ?`, normal(url)).Scan(&mint)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%s: %w", normal(url), ErrMintUnknown)
	}
	return mint, err
}

// Knows reports whether a mint was made known.
func (w *Wallet) Knows(ctx context.Context, url string) (bool, error) {
	_, err := mintOf(ctx, w.file, url)
	if errors.Is(err, ErrMintUnknown) {
		return false, nil
	}
	return err == nil, err
}

// keysetsOf reads a mint's keysets; the ones to make outputs of come first.
func keysetsOf(ctx context.Context, q query, mint int64) ([]keyset, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, unit, active, listed, fee, expiry, keys, seal FROM keysets
		WHERE mint = ? ORDER BY listed DESC, active DESC, fee, id`, mint)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var sets []keyset
	for rows.Next() {
		set := keyset{mint: mint}
		var keys []byte
		var sealed int64
		if err := rows.Scan(&set.id, &set.unit, &set.active, &set.listed, &set.fee, &set.expiry, &keys, &sealed); err != nil {
			return nil, err
		}
		if sealed != seal(set.id, mint, set.unit, set.fee, set.expiry, keys) {
			return nil, broken("keyset %s", set.id)
		}
		if set.keys, err = unpackKeys(keys); err != nil {
			return nil, fmt.Errorf("keyset %s: %w", set.id, err)
		}
		sets = append(sets, set)
	}
	return sets, rows.Err()
}

const packedKey = 8 + cashu.PointBytes

func packKeys(keys cashu.Keys) []byte {
	packed := make([]byte, 0, packedKey*len(keys))
	for _, key := range keys {
		packed = binary.BigEndian.AppendUint64(packed, uint64(key.Amount))
		packed = append(packed, key.Point[:]...)
	}
	return packed
}

func unpackKeys(packed []byte) (cashu.Keys, error) {
	if len(packed)%packedKey != 0 {
		return nil, errors.New("its keys are damaged")
	}
	keys := make(cashu.Keys, len(packed)/packedKey)
	for i := range keys {
		one := packed[i*packedKey : (i+1)*packedKey]
		keys[i].Amount = cashu.Units(binary.BigEndian.Uint64(one))
		if err := keys[i].Point.UnmarshalBinary(one[8:]); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// activeOf picks the keyset for new outputs of a unit; any unit where none is
// given.
func activeOf(sets []keyset, unit string) (keyset, error) {
	for _, set := range sets {
		if set.listed && set.active && (unit == "" || set.unit == unit) {
			return set, nil
		}
	}
	return keyset{}, ErrNoKeyset
}

func findKeyset(sets []keyset, id cashu.KeysetID) (keyset, error) {
	for _, set := range sets {
		if set.id == id {
			return set, nil
		}
	}
	return keyset{}, cashu.Refuse(cashu.CodeKeysetUnknown, "keyset %.20s is not one of this mint; fetch its keysets again", id)
}
