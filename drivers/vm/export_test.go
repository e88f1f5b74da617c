package vm

import "time"

var EmptyOverlay = emptyOverlay

// Probe starts a machine and waits for its first word: QEMU alone, so to speak.
func (d *Driver) Probe() error { return d.probe(d.accel, time.Minute) }
