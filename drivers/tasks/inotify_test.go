package tasks

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// Changes of a task are folded into one, a watch that ended is forgotten, and when the kernel lost some, every task is looked at.
func TestEventsAreFolded(t *testing.T) {
	a, b := &task{id: "a"}, &task{id: "b"}
	d := &Set{wds: map[int32]*task{1: a, 2: b}, tasks: map[string]*task{"a": a, "b": b}}
	var data bytes.Buffer
	for _, e := range []unix.InotifyEvent{
		{Wd: 1, Mask: unix.IN_MODIFY}, {Wd: 2, Mask: unix.IN_MODIFY}, {Wd: 9, Mask: unix.IN_MODIFY}, {Wd: 1, Mask: unix.IN_CLOSE_WRITE},
		{Wd: 2, Mask: unix.IN_IGNORED},
	} {
		if err := binary.Write(&data, binary.LittleEndian, e); err != nil {
			t.Fatal(err)
		}
	}
	got := d.events(data.Bytes())
	if len(got) != 2 || got[0] != (event{task: a, closed: true}) || got[1] != (event{task: b}) || d.wds[2] != nil {
		t.Errorf("events %+v", got)
	}
	data.Reset()
	if err := binary.Write(&data, binary.LittleEndian, unix.InotifyEvent{Wd: -1, Mask: unix.IN_Q_OVERFLOW}); err != nil {
		t.Fatal(err)
	}
	if got = d.events(data.Bytes()); len(got) != 2 || !got[0].unsure || !got[1].unsure {
		t.Errorf("after an overflow %+v", got)
	}
}
