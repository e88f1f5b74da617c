package inproc

import (
	"errors"
	"fmt"

	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/testbed/cluster"
)

// tickOf a pool, in milliseconds: nothing runs on past its money for longer.
const tickOf = 10_000

// Agree waits until all servers have applied the same, and says whether they have made the same of it, whether that is
// sound, and whether their books are whole and alike.
func (c *Cluster) Agree() error {
	c.T.Helper()
	var wrong []error
	var views []*machine.View
	c.Until("all servers have applied the same", func() bool {
		views = nil
		for _, s := range c.Servers {
			v := s.View()
			views = append(views, v)
			if v.Index() != views[0].Index() {
				return false
			}
		}
		return true
	})
	var names, dirs []string
	for i, v := range views {
		s := c.Servers[i]
		names, dirs = append(names, s.Name), append(dirs, s.Config.Dir)
		if v.Sum() != views[0].Sum() {
			wrong = append(wrong, fmt.Errorf("%s has made something else of the log than %s", s, c.Servers[0]))
		}
		if err := errors.Join(v.Check(), v.CheckWork(tickOf)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", s, err))
		}
	}
	c.Until("the books hold what has happened", func() bool {
		history, err := cluster.ReadBooks(c.T.Context(), names, dirs)
		if err != nil {
			wrong = append(wrong, err)
		}
		return err != nil || history.Last >= views[0].Seq()
	})
	return errors.Join(wrong...)
}
