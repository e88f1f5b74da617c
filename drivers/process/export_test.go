package process

// Exposed makes a driver that cannot keep tasks of one user from each other.
func (d *Driver) Exposed() { d.exposed = "for a test" }
