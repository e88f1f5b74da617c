package containertest

import (
	"fmt"
	"net"
	"testing"
)

// Address is one of this machine that is not loopback; where it has none, loopback.
func Address(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

// Treasury is a service of this machine that tells whoever calls.
func Treasury(t testing.TB) (port string) {
	t.Helper()
	service, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "treasure")
			c.Close()
		}
	}()
	_, port, err = net.SplitHostPort(service.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
