package client

import (
	"time"

	"github.com/coinop/coinop/funding/cashu"
)

// Headers of ours, both ways.
const (
	HeaderCluster        = "Coinop-Cluster"  // answers carry its id; with one, HeaderIndex counts in this cluster alone
	HeaderIndex          = "Coinop-Index"    // answers carry it; requests carry the highest seen, which a follower waits for
	HeaderToken          = "Coinop-Token"    // an operator's or a submitter's token
	HeaderIdempotencyKey = "Idempotency-Key" // a ULID
	HeaderXCashu         = "X-Cashu"         // a payment request (NUT-18), with 402
)

// JobSpec is what to run and on what terms. Of pay, time and bid two give the third; what is
// left out is the pool's default.
type JobSpec struct {
	Name          string            `json:"name,omitempty" doc:"seen with the view key only"`
	Pool          string            `json:"pool,omitempty" doc:"default: default"`
	Driver        string            `json:"driver,omitempty" doc:"default: process, with an image container"`
	Image         string            `json:"image,omitempty" doc:"what a container is made from: a registry's REPOSITORY:TAG or REPOSITORY@DIGEST"`
	CPUMilli      int64             `json:"cpu_milli,omitempty" doc:"thousandths of a CPU; default 1000"`
	MemoryBytes   int64             `json:"memory_bytes,omitempty" doc:"default 1 GiB"`
	DiskBytes     int64             `json:"disk_bytes,omitempty"`
	GPUs          int64             `json:"gpus,omitempty"`
	TimeMs        int64             `json:"time_ms,omitempty" doc:"the time limit"`
	BidMicro      int64             `json:"bid_micro,omitempty" doc:"the most it pays, in micro-units per billing unit and second"`
	Mode          string            `json:"mode,omitempty" doc:"safe (default): all that it can cost is held before it is queued; stream: ten minutes are held at a time"`
	MaxTotalMicro int64             `json:"max_total_micro,omitempty" doc:"the most it may ever cost, whoever pays"`
	Array         *Array            `json:"array,omitempty"`
	Command       []string          `json:"command,omitempty" doc:"argv as given, no shell; with a script: its arguments"`
	Script        []byte            `json:"script,omitempty" doc:"at most 64 KiB, base64; run as a file of the task's folder"`
	Hold          bool              `json:"hold,omitempty" doc:"run nothing, not an image's own command either, and keep the place for commands by /v1/jobs/{job}/exec"`
	Env           map[string]string `json:"env,omitempty"`
	Inputs        []InputFile       `json:"inputs,omitempty"`
	Outputs       []string          `json:"outputs,omitempty" doc:"globs of files to keep"`
	Labels        map[string]string `json:"labels,omitempty"`

	GPUKind        string `json:"gpu_kind,omitempty" doc:"a model or a part of its name (a100), a MIG slice (1g.10gb, a100/1g.10gb) or a share (share, a100/share); none: any model that is not dearer than others"`
	GPUMemoryBytes int64  `json:"gpu_memory_bytes,omitempty" doc:"of each GPU at least"`
	NVLink         bool   `json:"nvlink,omitempty" doc:"each GPU reaches each of the others by NVLink"`

	Entrypoint []string `json:"entrypoint,omitempty" doc:"with an image: stands before command, in place of the image's own entrypoint and command"`
	WorkDir    string   `json:"workdir,omitempty" doc:"with an image: the folder in it where the command starts; default: where the image says, else the job's folder"`
	ReadOnly   bool     `json:"read_only,omitempty" doc:"with an image: only the job's folder and /dev/shm can be written to"`
	ShmBytes   int64    `json:"shm_bytes,omitempty" doc:"with an image: size of /dev/shm, which counts as memory; default 64 MiB"`

	Chdir string `json:"chdir,omitempty" doc:"the folder where the command starts, in what the pool's machines share: an absolute path, and found by that name; default: the job's folder, which inputs and outputs are of in any case"`
}

// Array makes a job of many tasks, first to last inclusive.
type Array struct {
	First  int32 `json:"first"`
	Last   int32 `json:"last"`
	AtOnce int32 `json:"at_once,omitempty" doc:"how many run at once; none: as many as there is room and money for"`
}

// InputFile is a file put into the task's folder before it starts; its bytes were sent to /v1/blobs first.
type InputFile struct {
	To     string `json:"to" doc:"a path in the task's folder"`
	SHA256 string `json:"sha256" doc:"hex"`
	Size   int64  `json:"size"`
	Mode   uint32 `json:"mode,omitempty" doc:"permission bits; default 0644"`
}

// Keys is what the server is told of the keys of a job or a pot: the SHA-256 of each as hex, and the
// fund id, which is the fund key itself and public.
type Keys struct {
	Control string `json:"control"`
	View    string `json:"view"`
	Spend   string `json:"spend"`
	Claim   string `json:"claim"`
	Fund    string `json:"fund"`
}

// Payment is coins and where they go: outputs are signed at once for inputs − fee − pay, blanks when
// there is change.
type Payment struct {
	Pay     int64                  `json:"pay,omitempty" doc:"whole units for the job or the pot"`
	Inputs  []cashu.Proof          `json:"inputs,omitempty"`
	Outputs []cashu.BlindedMessage `json:"outputs,omitempty"`
	Blanks  []cashu.BlindedMessage `json:"blanks,omitempty"`
}

// SubmitRequest is POST /v1/jobs. Its money is coins in this request, or a pot's, named by its fund id with
// the spend key as bearer; then pay, without coins, is how much of the pot's money the job is to use.
type SubmitRequest struct {
	Job  JobSpec `json:"job"`
	Keys Keys    `json:"keys"`
	Payment
	Pot            string `json:"pot,omitempty" doc:"fund id of the pot that pays"`
	CapOthersMicro *int64 `json:"cap_others_micro,omitempty" doc:"the most that others may add; none: no limit"`
	OnHold         bool   `json:"on_hold,omitempty" doc:"do not start it before it is released"`
}

// SubmitAnswer says what was accepted. The first six fields are what `submit --json` prints.
type SubmitAnswer struct {
	Job         uint64                 `json:"job"`
	State       string                 `json:"state"`
	FundID      string                 `json:"fund_id"`
	HeldMicro   int64                  `json:"held_micro"`
	BidMicro    int64                  `json:"bid_micro"`
	WeightMilli int64                  `json:"weight_milli"`
	TimeMs      int64                  `json:"time_ms,omitempty"`
	Signatures  []cashu.BlindSignature `json:"signatures,omitempty"`
}

// Tasks counts a job's tasks; a plain job has one, number 0.
type Tasks struct {
	First   int32 `json:"first"`
	Last    int32 `json:"last"`
	AtOnce  int32 `json:"at_once,omitempty"`
	Waiting int32 `json:"waiting"`
	Open    int32 `json:"open" doc:"placed or running"`
	Done    int32 `json:"done" doc:"ended with code 0"`
	Failed  int32 `json:"failed" doc:"ended otherwise"`
}

// Job is a job as anyone sees it; Private is there with its view or control key, until its retention ends.
type Job struct {
	Job          uint64      `json:"job"`
	Pool         string      `json:"pool"`
	State        string      `json:"state" enum:"queued,running,paused,done"`
	Reason       string      `json:"reason,omitempty" doc:"why it ended, or why it waits"`
	ExitCode     *int32      `json:"exit_code,omitempty" doc:"of the first task that failed; 128+n for a signal"`
	Mode         string      `json:"mode"`
	Driver       string      `json:"driver"`
	CPUMilli     int64       `json:"cpu_milli"`
	MemoryBytes  int64       `json:"memory_bytes"`
	DiskBytes    int64       `json:"disk_bytes,omitempty"`
	GPUs         int64       `json:"gpus,omitempty"`
	BidMicro     int64       `json:"bid_micro"`
	BoostMicro   int64       `json:"boost_micro,omitempty"`
	WeightMilli  int64       `json:"weight_milli"`
	TimeMs       int64       `json:"time_ms,omitempty"`
	Tasks        Tasks       `json:"tasks"`
	OnHold       bool        `json:"on_hold,omitempty" doc:"the owner keeps it from starting"`
	NoFunds      bool        `json:"no_funds,omitempty" doc:"it waits for money"`
	FundID       string      `json:"fund_id"`
	Nodes        []string    `json:"nodes,omitempty" doc:"where its tasks run now, at most eight"`
	Submitted    time.Time   `json:"submitted"`
	Started      *time.Time  `json:"started,omitempty"`
	Ended        *time.Time  `json:"ended,omitempty"`
	SponsorCount int         `json:"sponsor_count,omitempty" doc:"deposits by others"`
	Private      *JobPrivate `json:"private,omitempty"`

	GPUKind        string `json:"gpu_kind,omitempty" doc:"as it was asked for"`
	GPUMemoryBytes int64  `json:"gpu_memory_bytes,omitempty" doc:"of each at least"`
	NVLink         bool   `json:"nvlink,omitempty"`
}

// JobPrivate is what the view key shows.
type JobPrivate struct {
	Name          string            `json:"name,omitempty"`
	Image         string            `json:"image,omitempty"`
	Entrypoint    []string          `json:"entrypoint,omitempty"`
	WorkDir       string            `json:"workdir,omitempty"`
	ReadOnly      bool              `json:"read_only,omitempty"`
	ShmBytes      int64             `json:"shm_bytes,omitempty"`
	Chdir         string            `json:"chdir,omitempty"`
	Command       []string          `json:"command,omitempty"`
	Hold          bool              `json:"hold,omitempty" doc:"it runs nothing"`
	Labels        map[string]string `json:"labels,omitempty"`
	Env           map[string]string `json:"env,omitempty"`
	Inputs        []InputFile       `json:"inputs,omitempty"`
	Outputs       []string          `json:"outputs,omitempty"`
	MaxTotalMicro int64             `json:"max_total_micro,omitempty"`
	Pot           Pot               `json:"pot"`
	HeldMicro     int64             `json:"held_micro"`
	SpentMicro    int64             `json:"spent_micro" doc:"settled, and owed so far"`
	BilledMs      int64             `json:"billed_ms"`
	FundedUntil   *time.Time        `json:"funded_until,omitempty" doc:"when the money ends at today's price"`
	Runs          []Run             `json:"runs,omitempty" doc:"the newest first, at most a hundred"`
}

// Run is one attempt of a task.
type Run struct {
	Run       uint64     `json:"run"`
	Task      int32      `json:"task"`
	State     string     `json:"state"`
	Node      string     `json:"node,omitempty"`
	Placed    *time.Time `json:"placed,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	Until     *time.Time `json:"until,omitempty" doc:"the time limit's end"`
	Reason    string     `json:"reason,omitempty"`
	ExitCode  *int32     `json:"exit_code,omitempty"`
	OwedMicro int64      `json:"owed_micro,omitempty" doc:"of a run that has ended: what it has cost"`
	Text      string     `json:"text,omitempty" doc:"what its driver said of the end"`
	GPU       *GPUUsage  `json:"gpu,omitempty" doc:"what it has used of GPUs; of a run that goes on, as its machine told within the last seconds"`
}

// JobList is GET /v1/jobs: the queue in the order in which it would start, running jobs first.
type JobList struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next,omitempty" doc:"pass as after to get more"`
}

// OwnRequest is the body of POST /v1/jobs/own: jobs by their numbers, each with its view or control key. The others
// narrow it; what is left out does not.
type OwnRequest struct {
	Jobs   []JobKey          `json:"jobs" doc:"at most 1000; those of which there is none, or whose key is another, are left out"`
	Pool   string            `json:"pool,omitempty"`
	State  string            `json:"state,omitempty" enum:"queued,running,paused,done"`
	All    bool              `json:"all,omitempty" doc:"finished jobs too, until they are forgotten"`
	Labels map[string]string `json:"labels,omitempty" doc:"only those that bear all of these"`
}

// JobKey is a job and the key that shows it.
type JobKey struct {
	Job uint64 `json:"job"`
	Key string `json:"key"`
}

// CapRequest is the body of PUT /v1/jobs/{job}/cap; what is left out stays as it was.
type CapRequest struct {
	CapOthersMicro *int64 `json:"cap_others_micro,omitempty" doc:"the most that others may add"`
	MaxTotalMicro  *int64 `json:"max_total_micro,omitempty" doc:"the most it may ever cost; 0: no limit"`
	TimeMs         *int64 `json:"time_ms,omitempty" doc:"a longer time limit, of a job of mode stream; what runs of it ends so much later"`
}

// File is one output of a task.
type File struct {
	Task   int32  `json:"task"`
	Run    uint64 `json:"run"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Mode   uint32 `json:"mode"`
}

// FileList is GET /v1/jobs/{job}/outputs; the bytes are at /v1/blobs/{sha256}.
type FileList struct {
	Files []File `json:"files"`
}

// Blob names bytes by their content.
type Blob struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// HistoryJob is a job of the book: what is public of it, for ever.
type HistoryJob struct {
	Job          uint64     `json:"job"`
	Pool         string     `json:"pool"`
	State        string     `json:"state"`
	Reason       string     `json:"reason,omitempty"`
	ExitCode     *int32     `json:"exit_code,omitempty"`
	BidMicro     int64      `json:"bid_micro"`
	WeightMilli  int64      `json:"weight_milli"`
	BilledMs     int64      `json:"billed_ms,omitempty" doc:"with the view key"`
	ChargedMicro int64      `json:"charged_micro,omitempty" doc:"with the view key"`
	FundID       string     `json:"fund_id,omitempty"`
	Submitted    time.Time  `json:"submitted"`
	Started      *time.Time `json:"started,omitempty"`
	Ended        *time.Time `json:"ended,omitempty"`
}

// History is GET /v1/history, the newest first.
type History struct {
	Jobs []HistoryJob `json:"jobs"`
	Next string       `json:"next,omitempty"`
}

// Event is one line of an event stream.
type Event struct {
	Seq         uint64     `json:"seq"`
	At          time.Time  `json:"at"`
	Kind        string     `json:"kind"`
	Job         uint64     `json:"job,omitempty"`
	Task        *int32     `json:"task,omitempty"`
	Run         uint64     `json:"run,omitempty"`
	Node        string     `json:"node,omitempty"`
	Pool        string     `json:"pool,omitempty"`
	Deposit     int64      `json:"deposit,omitempty"`
	Refund      uint64     `json:"refund,omitempty"`
	AmountMicro int64      `json:"amount_micro,omitempty"`
	RateMicro   int64      `json:"rate_micro,omitempty"`
	Debit       string     `json:"debit,omitempty" doc:"of a transfer: the account"`
	Credit      string     `json:"credit,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	ExitCode    *int32     `json:"exit_code,omitempty"`
	Until       *time.Time `json:"until,omitempty" doc:"when what is announced happens"`
	Text        string     `json:"text,omitempty"`
}

// LogChunk is one line of a log stream asked for as NDJSON. Asking again with its run and the offset behind
// its data goes on where a broken stream ended.
type LogChunk struct {
	Run    uint64 `json:"run"`
	Task   int32  `json:"task"`
	Stream string `json:"stream"`
	Offset int64  `json:"offset" doc:"of the first byte of data in what the task wrote"`
	Gap    int64  `json:"gap,omitempty" doc:"bytes before the data that were not kept"`
	Data   []byte `json:"data,omitempty"`
	End    bool   `json:"end,omitempty" doc:"nothing follows for this run"`
}
