package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
)

// API answers HTTP requests.
type API struct {
	config    Config
	node      Node
	log       *slog.Logger
	limits    Limits
	mux       *http.ServeMux
	huma      huma.API
	pages     *http.CrossOriginProtection
	addresses *addresses
	curve     *curve
	connects  *connects
	streams   chan struct{} // one for each stream that is being followed
	metrics   *metrics
	ladders   ladders
	told      atomic.Uint64          // the highest index that an answer has carried
	name      atomic.Pointer[string] // the cluster's id, once there is one: it stays

	mu       sync.Mutex
	recent   *machine.View // guarded by mu
	recentAt time.Time     // guarded by mu
}

// New checks the configuration and makes the routes. Nothing runs until a request comes.
func New(c Config) (*API, error) {
	if c.Node == nil {
		return nil, errors.New("make the HTTP interface: no node is configured")
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	a := &API{
		config: c, node: c.Node, log: c.Log, limits: c.Limits,
		mux:       http.NewServeMux(),
		pages:     http.NewCrossOriginProtection(),
		addresses: newAddresses(c.Limits),
		curve:     newCurve(c.Limits, m),
		connects:  newConnects(c.Limits.ConnectsMax),
		streams:   make(chan struct{}, c.Limits.StreamsMax),
		metrics:   m,
	}
	a.huma = humago.New(a.mux, a.humaConfig())
	a.routes()
	return a, nil
}

// HTTPServer is a server for this interface with all its limits set; the caller gives it a listener and ends it.
func (a *API) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           a,
		ReadHeaderTimeout: a.limits.HeaderTime,
		IdleTimeout:       a.limits.IdleTime,
		MaxHeaderBytes:    a.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

func (a *API) routes() {
	a.jobRoutes()
	a.streamRoutes()
	a.moneyRoutes()
	a.clusterRoutes()
	a.operatorRoutes()
	a.keysetRoutes()
	a.mintRoutes()
	a.finishDocument()
	if a.config.Gather != nil {
		a.mux.Handle("GET /metrics", promhttp.HandlerFor(a.config.Gather, promhttp.HandlerOpts{}))
	}
	a.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, fail(codeNotFound, "there is no %s %.100s", r.Method, r.URL.Path))
	})
	if a.config.Web != nil {
		a.mux.Handle("/", a.config.Web)
		return
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, fail(codeNotFound, "there is no %s %.100s", r.Method, r.URL.Path))
	})
}

// recentFor bounds the age of the view that prices a submission. What it is wrong about is checked again where the
// entry is applied; a fresh view for each of many thousand submissions a second would copy pages for each.
const recentFor = 20 * time.Millisecond

// viewAt is the state, at most a moment old, with all entries up to an index that is applied here.
func (a *API) viewAt(index uint64) *machine.View {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); a.recent == nil || now.Sub(a.recentAt) > recentFor || a.recent.Index() < index {
		a.recent, a.recentAt = a.node.View(), now
	}
	return a.recent
}

// recentView is the state, at most a moment old, with all that the caller has seen and all that anyone was told here:
// a caller's next command is another process, which does not know what the one before it has seen.
func (a *API) recentView(ctx context.Context) *machine.View {
	return a.viewAt(max(callerOf(ctx).index, a.told.Load()))
}

// cluster is the cluster's id, or empty while there is none.
func (a *API) cluster() string {
	if name := a.name.Load(); name != nil {
		return *name
	}
	id := a.node.View().Cluster()
	if id == (machine.ClusterID{}) {
		return ""
	}
	name := hexOf(id[:])
	a.name.Store(&name)
	return name
}

// tell puts an answer's index into its header.
func (a *API) tell(h http.Header, index uint64) {
	h.Set(client.HeaderIndex, strconv.FormatUint(index, 10))
	for {
		before := a.told.Load()
		if before >= index || a.told.CompareAndSwap(before, index) {
			return
		}
	}
}

// register makes a route of huma's whose errors are problems of ours.
func register[I, O any](a *API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.problemOf(a.termsProblem(err))
		}
		return out, nil
	})
}

// handler is a route that reads and writes by itself.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle registers a route outside of huma: streams, bytes, the mint's calls, and the one that is hot.
func (a *API) handle(pattern string, h handler) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.refuse(w, r, err)
		}
	})
}
