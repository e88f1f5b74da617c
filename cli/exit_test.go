package cli

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/coinop/coinop/api/client"
)

func TestExitCodes(t *testing.T) {
	problem := func(status int) error { return fmt.Errorf("submit: %w", &client.Problem{Status: status}) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk full"), 1},
		{problem(422), 1}, {problem(409), 1}, {problem(500), 1}, {problem(429), 1},
		{usageError{errors.New("no such flag")}, 2},
		{problem(404), 3}, {problem(410), 3},
		{problem(401), 4}, {problem(403), 4},
		{problem(402), 5}, {moneyError{errors.New("the wallet is empty")}, 5},
		{problem(502), 6}, {problem(503), 6}, {problem(504), 6},
		{fmt.Errorf("queue: %w", &client.Unreachable{}), 6}, {&client.Unknown{}, 6},
		{exitCode(124), 124}, {errors.Join(nil, exitCode(130)), 130},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%v exits with %d, want %d", c.err, got, c.want)
		}
	}
}

func TestAJobsEndIsAnExitCode(t *testing.T) {
	code := func(n int32) *int32 { return &n }
	for _, c := range []struct {
		reason string
		exit   *int32
		want   exitCode
	}{
		{"exited", code(0), 0}, {"exited", code(7), 7}, {"exited", nil, 0},
		{"signalled", code(137), 137}, {"out_of_memory", code(137), 137}, {"cancelled", code(143), 143}, {"cancelled", nil, 1},
		{"start_failed", code(127), 127}, {"start_failed", code(126), 126},
		{"time_limit", code(143), 124}, {"money_end", code(0), 124}, {"pause_grace", nil, 124}, {"max_total", nil, 124}, {"floor", nil, 124},
		{"fault", code(0), 125}, {"node_lost", nil, 125}, {"faults_twice", code(1), 125},
	} {
		if got := jobExit(client.Job{Reason: c.reason, ExitCode: c.exit}); got != c.want {
			t.Errorf("%s exits with %d, want %d", c.reason, got, c.want)
		}
	}
}

// Every server that was tried is named with its own reason, and without the call's whole way there.
func TestServersThatDoNotAnswerAreNamed(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "http://a:1/v1/jobs?limit=1000", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	got := explain(fmt.Errorf("list: %w", &client.Unreachable{Tried: []client.Attempt{{Server: "a:1", Err: refused}, {Server: "b:2", Err: errors.New("no leader")}}}))
	want := "no server answered, nothing was sent; tried a:1: connection refused; b:2: no leader ("
	if !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	if got := explain(errors.New("plain")); got != "plain" {
		t.Errorf("another error: %q", got)
	}
}

func TestJoinedErrorsComeApart(t *testing.T) {
	one, two, three := errors.New("1"), errors.New("2"), errors.New("3")
	parts := joined(fmt.Errorf("use mint: %w", errors.Join(errors.Join(errors.Join(nil, one), two), three)))
	if len(parts) != 3 || parts[0] != one || parts[1] != two || parts[2] != three {
		t.Errorf("%v", parts)
	}
	if parts := joined(one); len(parts) != 1 || parts[0] != one {
		t.Errorf("%v", parts)
	}
}
