package container

// Command is what begins each command of the runtime in use.
func (d *Driver) Command() []string { return d.runtime.command }
