package vm

var EmptyOverlay = emptyOverlay

// Accel is what machines are run by.
func (d *Driver) Accel() string { return d.accel }
