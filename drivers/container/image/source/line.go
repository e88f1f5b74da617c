package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// stalled: from the other side came nothing, or next to nothing, for too long.
type stalled struct{ stall time.Duration }

func (s stalled) Error() string { return fmt.Sprintf("nothing comes from it for %s", s.stall) }

// enough is what has to come within the time to stall. Less is a way to keep a place for ever.
const enough = 64 << 10

// line opens connections. Only a registry that is named as being on this machine may lead to it: one of strangers must not
// have us knock, by a redirection or by what its name resolves to, where only this machine can.
func line(here bool, stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: stall}
	guarded := &net.Dialer{Timeout: stall, Control: func(_, address string, _ syscall.RawConn) error { return own(address) }}
	var proxies sync.Map // host and port of each that the environment names: the owner's choice
	return &http.Transport{
		Proxy: func(request *http.Request) (*url.URL, error) {
			at, err := http.ProxyFromEnvironment(request)
			if at != nil {
				port := at.Port()
				if port == "" {
					port = map[string]string{"https": "443", "socks5": "1080"}[at.Scheme]
				}
				if port == "" {
					port = "80"
				}
				proxies.Store(net.JoinHostPort(at.Hostname(), port), true)
			}
			return at, err
		},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if _, proxy := proxies.Load(address); here || proxy {
				return dialer.DialContext(ctx, network, address)
			}
			return guarded.DialContext(ctx, network, address)
		},
		TLSHandshakeTimeout: stall,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // layers are to arrive as they are stored
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     stall,
	}
}

// own refuses addresses that mean another machine, or another service, to everybody who uses them.
func own(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() {
		return bad.Errorf("it leads to %s, which is this machine's own: only a registry that is named as localhost may be there", host)
	}
	return nil
}

// patient gives up what stalls, at any step, and plain HTTP to other machines: whoever is on the way could read
// credentials and learn what is run.
type patient struct {
	line  http.RoundTripper
	here  bool
	stall time.Duration
}

func (p *patient) RoundTrip(request *http.Request) (*http.Response, error) {
	switch host := request.URL.Host; {
	case loopback(host) && !p.here:
		return nil, bad.Errorf("it leads to %s, which is this machine's own", host)
	case request.URL.Scheme != "https" && !loopback(host):
		return nil, bad.Errorf("%s is to be asked without encryption, which is for registries on this machine only", host)
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	watch := &watched{ctx: ctx, left: p.stall, stall: p.stall}
	watch.timer = time.AfterFunc(p.stall, func() { cancel(stalled{p.stall}) })
	watch.cancel = func() { watch.timer.Stop(); cancel(nil) }
	answer, err := p.line.RoundTrip(request.WithContext(ctx))
	watch.timer.Stop()
	if err != nil {
		err = watch.cause(err)
		watch.cancel()
		return nil, err
	}
	watch.ReadCloser = answer.Body
	answer.Body = watch
	return answer, nil
}

// watched is an answer's body. Only the time in which somebody waits for it counts.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel func()
	timer  *time.Timer
	left   time.Duration
	got    int
	stall  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.left)
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	if w.left -= time.Since(began); w.left <= 0 {
		w.left = time.Nanosecond
	}
	if w.got += n; w.got >= enough {
		w.left, w.got = w.stall, 0
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = w.cause(err)
	}
	return n, err
}

func (w *watched) Close() error {
	defer w.cancel()
	return w.ReadCloser.Close()
}

// cause is why the request was given up, if it was by us.
func (w *watched) cause(err error) error {
	if why := context.Cause(w.ctx); why != nil {
		return why
	}
	return err
}
