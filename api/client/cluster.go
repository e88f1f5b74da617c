package client

import "time"

// Node is a machine.
type Node struct {
	Node        string            `json:"node"`
	Pool        string            `json:"pool"`
	State       string            `json:"state" enum:"up,draining,lost,quarantined,removed"`
	Reason      string            `json:"reason,omitempty"`
	Deadline    *time.Time        `json:"deadline,omitempty" doc:"when a drain stops what still runs"`
	CPUMilli    int64             `json:"cpu_milli"`
	MemoryBytes int64             `json:"memory_bytes"`
	DiskBytes   int64             `json:"disk_bytes"`
	GPUs        int64             `json:"gpus"`
	CPUUsed     int64             `json:"cpu_milli_used"`
	MemoryUsed  int64             `json:"memory_bytes_used"`
	DiskUsed    int64             `json:"disk_bytes_used"`
	GPUsUsed    int64             `json:"gpus_used"`
	Runs        int32             `json:"runs"`
	Cards       []Card            `json:"cards,omitempty" doc:"its GPUs"`
	Drivers     []string          `json:"drivers"`
	Labels      map[string]string `json:"labels,omitempty"`
	Missing     []string          `json:"missing,omitempty" doc:"limits that it cannot set, and why"`
	Joined      time.Time         `json:"joined"`
	Version     string            `json:"version,omitempty"`
	OS          string            `json:"os,omitempty"`
	Arch        string            `json:"arch,omitempty"`
	DriverFacts []DriverFacts     `json:"driver_facts,omitempty" doc:"of every driver there; in lists only where asked for"`
	Shares      []string          `json:"shares,omitempty" doc:"folders that it has in common with others"`
}

// DriverFacts is what a node says of one of its drivers.
type DriverFacts struct {
	Driver    string   `json:"driver"`
	Version   string   `json:"version,omitempty"`
	Isolation string   `json:"isolation,omitempty" doc:"process, container or vm"`
	Can       []string `json:"can,omitempty" doc:"pause, suspend, exec, network, images, share, and the kinds of its devices"`
	State     string   `json:"state" enum:"up,starting,refused" doc:"only one that is up gets work"`
	Reason    string   `json:"reason,omitempty" doc:"why it is not up"`
}

// Card is GPUs of a node that are alike.
type Card struct {
	Model       string   `json:"model"`
	Count       int32    `json:"count"`
	Free        int32    `json:"free" doc:"how many could be had whole"`
	Whole       int32    `json:"whole" doc:"how many are sold whole"`
	MemoryBytes int64    `json:"memory_bytes" doc:"of each"`
	Island      int32    `json:"island,omitempty" doc:"those with the same number reach each other by NVLink"`
	Profiles    []string `json:"profiles,omitempty" doc:"slices that they can be cut into"`
	Slices      int32    `json:"slices,omitempty" doc:"of compute, on all of them"`
	SlicesUsed  int32    `json:"slices_used,omitempty"`
	SlicesOnly  bool     `json:"slices_only,omitempty" doc:"they cannot be had whole"`
	Shares      int32    `json:"shares,omitempty" doc:"as how many shares all of them are sold"`
	SharesUsed  int32    `json:"shares_used,omitempty"`
	State       string   `json:"state" enum:"ok,sick"`
	Reason      string   `json:"reason,omitempty" doc:"why they are not to be had"`
	ID          string   `json:"id,omitempty" doc:"of one that is sick"`
}

// NodeList is GET /v1/nodes.
type NodeList struct {
	Nodes []Node `json:"nodes"`
}

// DrainRequest is POST /v1/nodes/{node}/drain.
type DrainRequest struct {
	Reason     string `json:"reason,omitempty"`
	DeadlineMs int64  `json:"deadline_ms,omitempty" doc:"from now; what still runs then is stopped"`
}

// Weights turn resources into billing units, in thousandths.
type Weights struct {
	CPU    int64 `json:"cpu" doc:"per CPU"`
	Memory int64 `json:"memory" doc:"per GiB"`
	Disk   int64 `json:"disk" doc:"per GiB"`
	GPU    int64 `json:"gpu" doc:"per device of any model"`

	Suspended int64 `json:"suspended,omitempty" doc:"per GiB of a suspended task's disk and memory, which lie on its node's disk"`

	GPUKinds map[string]int64 `json:"gpu_kinds,omitempty" doc:"per device of a model (a100), slice (a100/1g.10gb) or share (a100/share); the longest name that fits counts"`
}

// Pool is machines sold at one price.
type Pool struct {
	Pool            string   `json:"pool"`
	Admission       string   `json:"admission" enum:"open,trusted"`
	Loopback        bool     `json:"loopback,omitempty" doc:"trusted, but takes loopback peers without a token"`
	Weights         Weights  `json:"weights_milli"`
	FloorMicro      int64    `json:"floor_micro"`
	DefaultBidMicro int64    `json:"default_bid_micro"`
	PriceMicro      int64    `json:"price_micro" doc:"now"`
	SubmitFeeMicro  int64    `json:"submit_fee_micro,omitempty"`
	TimeDefaultMs   int64    `json:"time_default_ms"`
	TimeMaxMs       int64    `json:"time_max_ms"`
	KillDelayMs     int64    `json:"kill_delay_ms"`
	PauseGraceMs    int64    `json:"pause_grace_ms"`
	TrancheMs       int64    `json:"tranche_ms"`
	TickMs          int64    `json:"tick_ms"`
	LowFundsMs      int64    `json:"low_funds_ms"`
	ArrayMax        int32    `json:"array_max"`
	Drivers         []string `json:"drivers"`
	User            string   `json:"user,omitempty"`
	Share           string   `json:"share,omitempty" doc:"a folder that its machines have in common, for jobs to work in"`
	Nodes           int      `json:"nodes"`
	CPUMilli        int64    `json:"cpu_milli" doc:"of all nodes that take work"`
	CPUUsed         int64    `json:"cpu_milli_used"`
}

// PoolList is GET /v1/pools.
type PoolList struct {
	Pools []Pool `json:"pools"`
}

// PoolSet is PUT /v1/pools/{pool}: what is left out stays as it is; a pool that does not exist is made.
type PoolSet struct {
	Admission       *string  `json:"admission,omitempty" enum:"open,trusted"`
	Loopback        *bool    `json:"loopback,omitempty"`
	Weights         *Weights `json:"weights_milli,omitempty"`
	FloorMicro      *int64   `json:"floor_micro,omitempty"`
	DefaultBidMicro *int64   `json:"default_bid_micro,omitempty"`
	SubmitFeeMicro  *int64   `json:"submit_fee_micro,omitempty"`
	TimeDefaultMs   *int64   `json:"time_default_ms,omitempty"`
	TimeMaxMs       *int64   `json:"time_max_ms,omitempty"`
	KillDelayMs     *int64   `json:"kill_delay_ms,omitempty"`
	PauseGraceMs    *int64   `json:"pause_grace_ms,omitempty"`
	TrancheMs       *int64   `json:"tranche_ms,omitempty"`
	TickMs          *int64   `json:"tick_ms,omitempty"`
	LowFundsMs      *int64   `json:"low_funds_ms,omitempty"`
	ArrayMax        *int32   `json:"array_max,omitempty"`
	Drivers         []string `json:"drivers,omitempty"`
	User            *string  `json:"user,omitempty"`
	Share           *string  `json:"share,omitempty" doc:"an absolute path, on every machine that offers it (coinop executor --share); empty: none. An open pool has none"`
}

// Price is one point of a pool's price.
type Price struct {
	At         time.Time `json:"at"`
	PriceMicro int64     `json:"price_micro"`
}

// Prices is GET /v1/pools/{pool}/prices, the oldest first; each holds until the next.
type Prices struct {
	Pool   string  `json:"pool"`
	Prices []Price `json:"prices"`
}

// TokenRequest is POST /v1/tokens: the client makes the token and tells its SHA-256, so that the same request
// can be sent again and no server ever sees the token before it is used. For a server or an executor
// the servers make it, since it must carry the authority's fingerprint.
type TokenRequest struct {
	Role   string `json:"role" enum:"operator,submit,view,server,executor"`
	SHA256 string `json:"sha256,omitempty" doc:"of the token, hex; for operator, submit and view"`
	TTLMs  int64  `json:"ttl_ms,omitempty" doc:"how long it holds; join tokens: at most an hour"`
	Note   string `json:"note,omitempty"`
}

// TokenAnswer carries a join token, or just the id of the token that the client has made.
type TokenAnswer struct {
	ID    string `json:"id" doc:"the first 16 hex digits of its SHA-256"`
	Token string `json:"token,omitempty" doc:"a join token; it works once"`
}

// Token is a token of a role as it is listed: never the token itself.
type Token struct {
	ID      string     `json:"id"`
	Role    string     `json:"role"`
	Note    string     `json:"note,omitempty"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"`
	Used    bool       `json:"used,omitempty"`
	Revoked bool       `json:"revoked,omitempty"`
}

// TokenList is GET /v1/tokens.
type TokenList struct {
	Tokens []Token `json:"tokens"`
}

// Server is a member of the cluster.
type Server struct {
	ID      string `json:"id"`
	HTTP    string `json:"http"`
	Cluster string `json:"cluster"`
	Leader  bool   `json:"leader"`
	Voter   bool   `json:"voter"`
	Self    bool   `json:"self,omitempty" doc:"this answer's server"`
	Alarm   string `json:"alarm,omitempty" doc:"what an operator should look at"`
}

// ServerList is GET /v1/servers.
type ServerList struct {
	ClusterID string   `json:"cluster_id"`
	Unit      string   `json:"unit" doc:"the unit of account"`
	Term      uint64   `json:"term"`
	Index     uint64   `json:"index"`
	Version   string   `json:"version"`
	MintURL   string   `json:"mint_url,omitempty" doc:"the mint's one public URL"`
	Servers   []Server `json:"servers"`
}

// Totals is the cluster's books in one line, GET /v1/totals. Sums can exceed what JSON numbers hold exactly,
// so they are strings of micro-units.
type Totals struct {
	Index    uint64            `json:"index"`
	Unit     string            `json:"unit"`
	Accounts map[string]string `json:"accounts_micro" doc:"balance of each kind of account; assets and expense equal what is owed and income"`
}
