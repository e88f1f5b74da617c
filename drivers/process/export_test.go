package process

// WithoutUnified makes the driver believe that this machine has version 1 of cgroups alone.
func (d *Driver) WithoutUnified() { d.cgroups.unified, d.cgroups.controllers = "", nil }

// Exposed makes a driver that cannot keep tasks of one user from each other.
func (d *Driver) Exposed() { d.exposed = "for a test" }
