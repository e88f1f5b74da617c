package port

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBothEndsOfAConnectionBreakWhenTheOtherIsSilent(t *testing.T) {
	ln, err := TCP{}.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := TCP{}.Dial(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for _, c := range []net.Conn{dialled, accepted} {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var set int
		if failed := raw.Control(func(fd uintptr) { set, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
		if int64(set) != silenceMax.Milliseconds() {
			t.Errorf("it waits %d ms", set)
		}
	}
}
