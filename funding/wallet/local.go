package wallet

import (
	"context"
	"database/sql"
	"fmt"
)

// runner is what the database and one connection to it both can.
type runner interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// local asks the wallet's own file, within a transaction or without. It does
// not watch the context: each answer takes microseconds, and to watch over one
// takes a goroutine each and longer than the answer.
type local struct{ runner }

func (l local) Exec(text string, args ...any) (sql.Result, error) {
	return l.ExecContext(context.Background(), text, args...)
}

func (l local) QueryRow(text string, args ...any) *sql.Row {
	return l.runner.QueryRowContext(context.Background(), text, args...)
}

func (l local) QueryContext(_ context.Context, text string, args ...any) (*sql.Rows, error) {
	return l.runner.QueryContext(context.Background(), text, args...)
}

func (l local) QueryRowContext(_ context.Context, text string, args ...any) *sql.Row {
	return l.QueryRow(text, args...)
}

// transact runs a change as one transaction: all of it or nothing. Writers
// queue at its beginning, not in the middle of it.
func (w *Wallet) transact(ctx context.Context, change func(tx local) error) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer conn.Close()
	var n int64
	err = within(local{conn}, func(tx local) (err error) {
		n, err = counted(tx, change)
		return err
	})
	if err != nil || n == 0 {
		return err
	}
	if err := w.noteCommits(n); err != nil {
		return fmt.Errorf("note the change: %w", err)
	}
	return nil
}

func within(tx local, change func(tx local) error) error {
	if _, err := tx.Exec(`BEGIN IMMEDIATE`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	ended := false
	defer func() {
		if !ended {
			_, _ = tx.Exec(`ROLLBACK`) // the change's own error says more
		}
	}()
	if err := change(tx); err != nil {
		return err
	}
	ended = true
	if _, err := tx.Exec(`COMMIT`); err != nil {
		_, _ = tx.Exec(`ROLLBACK`) // it may have ended already
		void(tx)
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
