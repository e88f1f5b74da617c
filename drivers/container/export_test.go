package container

// Command is what begins each command of the runtime in use.
func (d *Driver) Command() []string { return d.runtime.command }

// Filter is the compiled profile of system calls that the runtime is given.
func (d *Driver) Filter() string { return d.runtime.filter }
