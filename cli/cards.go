package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
)

// printCards lists the GPUs of machines, and what is sold of them.
func (a *app) printCards(nodes ...client.Node) {
	var rows [][]string
	for _, n := range nodes {
		for _, c := range n.Cards {
			rows = append(rows, []string{n.Node, c.Model, size(c.MemoryBytes), cardsSold(c), part(c.SlicesUsed, c.Slices), part(c.SharesUsed, c.Shares),
				island(c), or(strings.Join(c.Profiles, " "), "-"), c.State, strings.TrimSpace(c.Reason + " " + c.ID)})
		}
	}
	if len(rows) > 0 {
		a.grid([]string{"NODE", "GPU", "MEMORY", "SOLD", "SLICES", "SHARES", "NVLINK", "PROFILES", "STATE", "REASON"}, rows)
	}
}

func cardsSold(c client.Card) string { return fmt.Sprintf("%d/%d", c.Count-c.Free, c.Count) }

func part(used, all int32) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", used, all)
}

// island names the GPUs that reach each other.
func island(c client.Card) string {
	if c.Island == 0 {
		return "-"
	}
	return strconv.Itoa(int(c.Island))
}

// anyGPUs says whether a list of machines needs a column for them.
func anyGPUs(nodes []client.Node) bool {
	return slices.ContainsFunc(nodes, func(n client.Node) bool { return n.GPUs > 0 || len(n.Cards) > 0 })
}

// gpuRequest is what a job asks of GPUs, for people.
func gpuRequest(j client.Job) string {
	if j.GPUs == 0 {
		return ""
	}
	line := ", " + count(int(j.GPUs), "GPU")
	if j.GPUKind != "" {
		line = fmt.Sprintf(", %d × %s", j.GPUs, j.GPUKind)
	}
	if j.GPUMemoryBytes > 0 {
		line += " with " + size(j.GPUMemoryBytes)
	}
	if j.NVLink {
		line += ", NVLink"
	}
	return line
}

// printGPUUsage tells what a job's tasks used of GPUs.
func (a *app) printGPUUsage(u *client.GPUUsage) {
	if u != nil {
		fmt.Fprintln(a.out, "used "+gpuUsed(u))
	}
}

// printGPUsOf tells what each run has used of GPUs, or has so far.
func (a *app) printGPUsOf(runs []client.Run) {
	for _, r := range runs {
		switch {
		case r.GPU == nil:
		case r.Ended == nil:
			fmt.Fprintf(a.out, "run %d is on %s; now %s of their memory, %s\n", r.Run, gpuUsed(r.GPU), size(r.GPU.MemoryBytes), processes(r.GPU.Processes))
		default:
			fmt.Fprintf(a.out, "run %d used %s\n", r.Run, gpuUsed(r.GPU))
		}
	}
}

func gpuUsed(u *client.GPUUsage) string {
	words := []string{strings.Join(u.Devices, ", ")}
	if u.Utilisation != nil {
		words = append(words, fmt.Sprintf("busy %.0f %% of the time", *u.Utilisation*100))
	}
	words = append(words, "at most "+size(u.MemoryPeakBytes)+" of their memory")
	if u.ProcessesPeak > 0 {
		words = append(words, "at most "+processes(u.ProcessesPeak))
	}
	if u.EnergyJoules != nil {
		words = append(words, fmt.Sprintf("%s J (%s)", strconv.FormatFloat(*u.EnergyJoules, 'f', -1, 64), u.EnergyBasis))
	}
	return strings.Join(words, "; ")
}

func processes(n int32) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

// weightRows lists what a pool's resources weigh.
func weightRows(p client.Pool) [][]string {
	w := p.Weights
	rows := [][]string{{p.Pool, "cpu", money(w.CPU * 1000), "a CPU"}, {p.Pool, "memory", money(w.Memory * 1000), "a GiB"},
		{p.Pool, "disk", money(w.Disk * 1000), "a GiB"}, {p.Pool, "suspended", money(w.Suspended * 1000), "a GiB of memory and disk, while they lie on disk"},
		{p.Pool, "gpu", money(w.GPU * 1000), "any GPU without a row of its own"}}
	for _, name := range slices.Sorted(maps.Keys(w.GPUKinds)) {
		rows = append(rows, []string{p.Pool, "gpu/" + name, money(w.GPUKinds[name] * 1000), "one of the kind"})
	}
	return rows
}

// weightFlags are weights as an operator sets them: NAME=N in thousandths of a billing unit; gpu/KIND=none takes a row away.
type weightFlags struct{ said []string }

func (f weightFlags) over(w client.Weights) (client.Weights, error) {
	w.GPUKinds = maps.Clone(w.GPUKinds)
	for _, said := range f.said {
		name, value, ok := strings.Cut(said, "=")
		kind, isKind := strings.CutPrefix(name, "gpu/")
		if isKind && value == "none" {
			delete(w.GPUKinds, strings.ToLower(kind))
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if !ok || err != nil || n < 0 {
			return w, fmt.Errorf("--weight %s: write NAME=N, N in thousandths of a billing unit: cpu=1000, gpu/a100=20000", said)
		}
		to := map[string]*int64{"cpu": &w.CPU, "memory": &w.Memory, "disk": &w.Disk, "suspended": &w.Suspended, "gpu": &w.GPU}[name]
		switch {
		case to != nil:
			*to = n
		case !isKind || kind == "":
			return w, errors.New("--weight " + said + ": name cpu, memory, disk, suspended, gpu or gpu/KIND")
		default:
			if w.GPUKinds == nil {
				w.GPUKinds = map[string]int64{}
			}
			w.GPUKinds[strings.ToLower(kind)] = n
		}
	}
	return w, nil
}
