package keep

import (
	"os"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
)

// buryWithin is how long a plugin has to end when it is asked to, and then how long its output has to.
const buryWithin = 5 * time.Second

// child is a plugin's process.
type child struct {
	client  *goplugin.Client
	process *os.Process // nil: not known
}

// hold takes hold of the process while it lives, so that a number used again harms nobody.
func (p *child) hold() {
	found := p.client.ReattachConfig()
	if found == nil {
		return
	}
	if process, err := os.FindProcess(found.Pid); err == nil {
		p.process = process
	}
}

// kill ends it at once.
func (p *child) kill() {
	if p.process != nil {
		_ = p.process.Kill() // it may have ended
	}
}

// bury ends the plugin's process for certain, since two of them must not serve one folder. It is asked first, which a
// process that is stopped would never hear; and what it has started may hold on to its output for ever.
func (c *Keeper[L]) bury(plugin *child) {
	ended := make(chan struct{})
	go func() {
		plugin.client.Kill()
		close(ended)
	}()
	for _, then := range []func(){plugin.kill, func() {
		c.config.Log.Warn("a " + c.contract.Name + " plugin has ended, and left processes that have its output open")
	}} {
		select {
		case <-ended:
			c.sweep()
			return
		case <-time.After(buryWithin):
			then()
		}
	}
	c.sweep()
}
