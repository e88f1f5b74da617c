package cmdline

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/cluster"
)

// outside is a dev that listens on all addresses, at a port of its own.
func outside(t *testing.T, port string) *dev {
	t.Helper()
	d, _ := own(t, "--cpus", "2", "--http", "0.0.0.0:"+port)
	return d
}

func freePort(t *testing.T) string {
	t.Helper()
	addr, err := cluster.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// at is the same person, who names the server otherwise.
func (p person) at(addr string) person {
	p.env = append(append([]string(nil), p.env...), "COINOP_ADDR="+addr)
	return p
}

// refused runs a command in a pipe that exits with 6, and returns its complaint.
func (p person) refused(args ...string) string {
	p.t.Helper()
	cmd := p.command(p.t.Context(), args...)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 6 {
		p.t.Fatalf("coinop %s exits with %d:\n%s", strings.Join(args, " "), code, out)
	}
	return string(out)
}

// Off loopback a server speaks HTTPS and says by which fingerprint it is known; who names it, pays over it like anywhere.
// Who does not is told which line would do in a pipe, and asked on a terminal.
func TestAServerOffLoopbackIsKnownByItsFingerprint(t *testing.T) {
	port := freePort(t)
	d := outside(t, port)
	if !regexp.MustCompile(`^https://\S+:` + port + `#sha256=[0-9a-f]{64}$`).MatchString(d.addr) {
		t.Fatalf("it is ready at %q", d.addr)
	}
	_, pin, _ := strings.Cut(d.addr, "#")
	host := "127.0.0.1:" + port
	line := "https://" + host + "#" + pin
	token := d.bank(t).must("", "wallet", "send", "500") // by the address that it has printed
	d.addr = line                                        // its pool takes this machine's users
	you := d.someone(t, "you", "")
	you.must(token, "wallet", "receive", "-")
	if said := you.must("", "run", "--time", "10", "--pay", "30", "--", "echo", "over TLS"); said != "over TLS\n" {
		t.Errorf("a job said %q", said)
	}

	unpinned := you.at("https://" + host)
	said := unpinned.refused("pools")
	if !strings.Contains(said, "if its operator confirms the fingerprint, write "+line) {
		t.Errorf("in a pipe: %s", said)
	}
	you.at(line).must("", "pools")
	wrong := "https://" + host + "#sha256=" + strings.Repeat("00", 32)
	if said := you.at(wrong).refused("pools"); !strings.Contains(said, "it is not the server that is known here") {
		t.Errorf("a wrong fingerprint: %s", said)
	}
	cmd := you.at("http://"+host).command(t.Context(), "pools")
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "speaks HTTPS, and was asked over plain HTTP (write https://"+host) {
		t.Errorf("plain HTTP: %s", out)
	}

	no := unpinned.onTerminal("pools")
	no.await(`^127\.0\.0\.1:\d+ is not known here(?s:.*)` + pin[:20] + `(?s:.*)\[y/N\]`)
	no.types("\n")
	no.ends(6)
	if _, err := os.Stat(filepath.Join(you.home, "known_servers")); err == nil {
		t.Error("what was not confirmed is remembered")
	}
	yes := unpinned.onTerminal("wallet", "balance")
	yes.await(`Is it the same\? \[y/N\]`)
	yes.types("y\n")
	yes.await(`^remembered in `)
	yes.ends(0)
	unpinned.must("", "pools") // it is remembered, in a pipe too

	// Another server has come in its place: it is refused, on a terminal too, until the old line is replaced.
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	other := outside(t, port)
	_, newPin, _ := strings.Cut(other.addr, "#")
	known := filepath.Join(you.home, "known_servers")
	said = unpinned.refused("pools")
	if !strings.Contains(said, "it is not the server that is known here: its fingerprint is "+newPin) || !strings.Contains(said, known+":1 says "+pin) {
		t.Errorf("another server: %s", said)
	}
	x := unpinned.onTerminal("pools")
	x.await(`is not the server that is known here`)
	x.ends(6)
	if err := os.WriteFile(known, []byte(host+" "+newPin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unpinned.must("", "pools")
	if err := os.WriteFile(known, []byte(host+" sha256=12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = unpinned.command(t.Context(), "pools")
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), known+":1: ") {
		t.Errorf("a broken line: %s", out)
	}
}

func mintOf(t *testing.T, token string) string {
	t.Helper()
	decoded, err := cashu.DecodeToken(strings.TrimSpace(token))
	if err != nil {
		t.Fatal(err)
	}
	return decoded.Mint
}

// One public URL, set at founding or later, is what tokens of all servers name; whoever knows the cluster by another
// address still receives them.
func TestTokensNameTheMintsPublicURL(t *testing.T) {
	d, dir := own(t, "--cpus", "1")
	operator := "@" + filepath.Join(dir, "dev", "server", "operator.token")
	bank := d.bank(t)
	if said := bank.must("", "operator", "mint-url", "https://mint.example/mint", "--token", operator); said != "the mint is https://mint.example/mint\n" {
		t.Errorf("%q", said)
	}
	token := bank.must("", "wallet", "send", "8")
	you := d.someone(t, "you", "")
	you.must(token, "wallet", "receive", "-")
	if free, _ := you.balance(); free != 8 {
		t.Errorf("%d received", free)
	}
	if mint := mintOf(t, token); mint != "https://mint.example/mint" {
		t.Errorf("the token names %s", mint)
	}
	bank.must("", "operator", "mint-url", "none", "--token", operator)
	if mint := mintOf(t, bank.must("", "wallet", "send", "8")); mint != d.addr+"/mint" {
		t.Errorf("without one the token names %s", mint)
	}
}
