package process

// WithoutUnified makes the driver believe that this machine has version 1 of cgroups alone.
func (d *Driver) WithoutUnified() { d.cgroups.unified, d.cgroups.controllers = "", nil }
