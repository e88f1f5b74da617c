package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/book"
	"github.com/coinop/coinop/consensus/machine"
)

// History is what a server's own book says, from its first event on.
type History struct {
	Last uint64   // the number of its last event
	Hash [32]byte // the last link of its chain
	Jobs []uint64 // that were submitted

	First map[machine.EventKind]uint64 // the first event of each kind
}

// Books reads every server's book, see [ReadBooks].
func (c *Cluster) Books(ctx context.Context) (History, error) {
	var names, dirs []string
	for _, s := range c.Servers {
		names, dirs = append(names, s.Name), append(dirs, s.Dir)
	}
	return ReadBooks(ctx, names, dirs)
}

// ReadBooks reads the books in servers' folders once all hold what any of them held at the call. Each has to be without
// a hole, each link of its chain right, and all alike.
func ReadBooks(ctx context.Context, names, dirs []string) (History, error) {
	var books []*book.Book
	defer func() {
		for _, b := range books {
			_ = b.Close() // it was only read
		}
	}()
	last := uint64(0)
	for _, dir := range dirs {
		b, err := openBook(dir)
		if err != nil {
			return History{}, err
		}
		books = append(books, b)
		last = max(last, b.Through())
	}
	var all []History
	for i, b := range books {
		err := Until(ctx, readyIn, fmt.Sprintf("the book of %s holds event %d", names[i], last), func() (bool, error) {
			list, err := b.After(ctx, last-1, 0, 1)
			return len(list) == 1, err
		})
		if err != nil {
			return History{}, err
		}
		h, err := readBook(ctx, b, last)
		if err != nil {
			return History{}, fmt.Errorf("the book of %s: %w", names[i], err)
		}
		all = append(all, h)
	}
	return all[0], alike(names, all)
}

// noSource is for a book that is only read.
type noSource struct{ book.Source }

func openBook(dir string) (*book.Book, error) {
	return book.Open(book.Config{Path: filepath.Join(dir, "book.db"), Source: noSource{}})
}

const pageOfEvents = 10_000

func readBook(ctx context.Context, b *book.Book, last uint64) (History, error) {
	h := History{First: map[machine.EventKind]uint64{}}
	for h.Last < last {
		page, err := b.After(ctx, h.Last, 0, pageOfEvents)
		if err != nil {
			return h, err
		}
		if len(page) == 0 {
			return h, fmt.Errorf("it ends with event %d, others hold %d", h.Last, last)
		}
		for _, e := range page[:min(uint64(len(page)), last-h.Last)] {
			if err := h.follow(e); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// follow takes one more event.
func (h *History) follow(e machine.Event) error {
	want, err := machine.ChainHash(h.Hash, e)
	if err != nil {
		return err
	}
	if e.Seq != h.Last+1 || e.Hash != want {
		return fmt.Errorf("event %d does not follow event %d", e.Seq, h.Last)
	}
	h.Last, h.Hash = e.Seq, e.Hash
	if h.First[e.Kind] == 0 {
		h.First[e.Kind] = e.Seq
	}
	if e.Kind == machine.EventSubmitted {
		h.Jobs = append(h.Jobs, uint64(e.Job))
	}
	return nil
}

func alike(names []string, all []History) error {
	var failed []error
	for i, h := range all {
		if h.Last != all[0].Last || h.Hash != all[0].Hash {
			failed = append(failed, fmt.Errorf("the chain of %s ends with event %d, %x; that of %s with %d, %x",
				names[i], h.Last, h.Hash[:4], names[0], all[0].Last, all[0].Hash[:4]))
		}
	}
	return errors.Join(failed...)
}

// Accounts are what a server's ledger says of each kind of account, in micro-units; what it earns is positive.
type Accounts map[string]int64

// ReadAccounts asks servers for their ledger.
func ReadAccounts(ctx context.Context, addrs ...string) (Accounts, error) {
	c, err := client.New(client.Config{Servers: addrs})
	if err != nil {
		return nil, err
	}
	defer c.CloseIdle()
	totals, err := c.Totals(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the books: %w", err)
	}
	accounts := make(Accounts, len(totals.Accounts))
	for account, text := range totals.Accounts {
		if accounts[account], err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, fmt.Errorf("read the balance of %s: %w", account, err)
		}
	}
	return accounts, nil
}

// Sides are the ledger's: what is owned equals what is owed and the income.
func (a Accounts) Sides() (owned, owed, income int64) {
	for account, balance := range a {
		switch kind, _, _ := strings.Cut(account, ":"); kind {
		case "asset", "expense":
			owned += balance
		case "income":
			income += balance
		default:
			owed += balance
		}
	}
	return owned, owed, income
}

// Balanced says of each server whether its ledger's sum is zero.
func (c *Cluster) Balanced(ctx context.Context) error {
	var failed []error
	for _, s := range c.Servers {
		a, err := ReadAccounts(ctx, s.HTTP)
		if err != nil {
			return err
		}
		if owned, owed, income := a.Sides(); owned != owed+income || owned == 0 {
			failed = append(failed, fmt.Errorf("%s owns %d, owes %d and has earned %d", s.Name, owned, owed, income))
		}
	}
	return errors.Join(failed...)
}

// Level waits until every server has applied what any of them had at the call.
func (c *Cluster) Level(ctx context.Context) error {
	var index uint64
	for _, s := range c.Servers {
		at, err := indexOf(ctx, s)
		if err != nil {
			return err
		}
		index = max(index, at)
	}
	for _, s := range c.Servers {
		err := Until(ctx, readyIn, fmt.Sprintf("%s has applied entry %d", s.Name, index), func() (bool, error) {
			at, err := indexOf(ctx, s)
			return at >= index, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func indexOf(ctx context.Context, s *Server) (uint64, error) {
	c, err := client.New(client.Config{Servers: []string{s.HTTP}, Patience: time.Second})
	if err != nil {
		return 0, err
	}
	defer c.CloseIdle()
	list, err := c.ServerList(ctx)
	return list.Index, err
}
