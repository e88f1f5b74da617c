package nvml

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The machine: four A100 of 40 GB, in pairs by NVLink, and four L4.
const (
	A100 = "NVIDIA A100-SXM4-40GB"
	L4   = "NVIDIA L4"
)

// facts is the machine when it is new. Memory, power and their limits are NVIDIA's figures for these GPUs.
func facts() string {
	var text strings.Builder
	for gpu := range 8 {
		set := func(name string, value any) { fmt.Fprintf(&text, "gpu%d.%s %v\n", gpu, name, value) }
		set("uuid", UUID(gpu))
		set("bus", fmt.Sprintf("00000000:%02X:00.0", 0x10+gpu))
		set("ecc", 1)
		set("energy", 5_000_000+gpu)
		set("energy.at", milliseconds())
		if gpu < 4 {
			set("name", A100)
			set("memory", 40960<<20)
			set("numa", gpu/2)
			set("idle", 50_000)
			set("limit", 400_000)
			set("limit.min", 100_000)
			set("limit.max", 400_000)
			set("mig", 0)
			set("remap.pending", 0)
			peer := strconv.Itoa(gpu ^ 1)
			set("links", strings.Repeat(peer+",", 11)+peer)
			continue
		}
		set("name", L4)
		set("memory", 23034<<20)
		set("numa", gpu/2-2)
		set("idle", 12_000)
		set("limit", 72_000)
		set("limit.min", 40_000)
		set("limit.max", 72_000)
		set("retired.pending", 0)
	}
	return text.String()
}

func milliseconds() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // this clock is everywhere
	return t.Sec*1000 + t.Nsec/1_000_000
}

// UUID is a GPU's.
func UUID(gpu int) string { return fmt.Sprintf("GPU-c0117e57-0000-4000-8000-%012x", gpu) }

// Set sets a fact of a GPU: uuid, name, bus, memory, numa, mig, mig.needs_reset, ecc.uncorrected, remap.pending, remap.failed,
// retired.pending, lost, limit, compute, persistence.
func (m *Machine) Set(gpu int, name string, value any) error {
	return m.edit(func(facts map[string]string) { facts[fmt.Sprintf("gpu%d.%s", gpu, name)] = fmt.Sprint(value) })
}

// Get reads a fact.
func (m *Machine) Get(gpu int, name string) (value string, err error) {
	err = m.edit(func(facts map[string]string) { value = facts[fmt.Sprintf("gpu%d.%s", gpu, name)] })
	return value, err
}

// Instances counts a GPU's MIG instances.
func (m *Machine) Instances(gpu int) (n int, err error) {
	err = m.edit(func(facts map[string]string) {
		for key := range facts {
			if strings.HasPrefix(key, fmt.Sprintf("gpu%d.instance", gpu)) {
				n++
			}
		}
	})
	return n, err
}

// Use says how busy a GPU is from now on, in percent, which its power follows.
func (m *Machine) Use(gpu, percent int) error { return m.settle(gpu, percent, 0, false) }

// Burn adds to a GPU's energy at once, and from now on it takes no power: for tests that count.
func (m *Machine) Burn(gpu int, millijoules int64) error {
	return m.settle(gpu, 0, millijoules, true)
}

func (m *Machine) settle(gpu, percent int, more int64, powerless bool) error {
	return m.edit(func(facts map[string]string) {
		read := func(name string) int64 {
			n, _ := strconv.ParseInt(facts[fmt.Sprintf("gpu%d.%s", gpu, name)], 10, 64) // absent is nothing
			return n
		}
		set := func(name string, value int64) {
			facts[fmt.Sprintf("gpu%d.%s", gpu, name)] = strconv.FormatInt(value, 10)
		}
		now := milliseconds()
		power := read("idle") + (read("limit")-read("idle"))*read("use")/100
		set("energy", read("energy")+power*(now-read("energy.at"))/1000+more)
		set("energy.at", now)
		set("use", int64(percent))
		if powerless {
			set("idle", 0)
		}
	})
}

// Start puts a process on a GPU, or into one of its MIG instances (-1: none).
func (m *Machine) Start(gpu, instance, pid int, bytes int64) error {
	return m.Set(gpu, "process."+strconv.Itoa(pid), fmt.Sprintf("%d %d", instance, bytes))
}

// Stop takes it away.
func (m *Machine) Stop(gpu, pid int) error {
	return m.edit(func(facts map[string]string) { delete(facts, fmt.Sprintf("gpu%d.process.%d", gpu, pid)) })
}

// XID has the driver report an error of a GPU, of one of its instances or (-1) of all of it.
func (m *Machine) XID(gpu, instance, xid int) error { return m.event(gpu, instance, 8, xid) }

// DoubleBit has the GPU's memory lose two bits of a word.
func (m *Machine) DoubleBit(gpu int) error {
	if err := m.Set(gpu, "ecc.uncorrected", 1); err != nil {
		return err
	}
	return m.event(gpu, -1, 2, 0)
}

func (m *Machine) event(gpu, instance, kind, data int) error {
	return m.edit(func(facts map[string]string) {
		n := 1
		for key := range facts {
			if strings.Contains(key, ".event.") {
				n++
			}
		}
		facts[fmt.Sprintf("gpu%d.event.%d", gpu, n)] = fmt.Sprintf("%d %d %d", kind, data, instance)
	})
}

// Hang has a function of the library not return, or return again.
func (m *Machine) Hang(function string, on bool) error {
	return m.edit(func(facts map[string]string) {
		facts["hang."+function] = "1"
		if !on {
			delete(facts, "hang."+function)
		}
	})
}

// Fail has a function of the library answer with a code of nvml.h from now on; 0: as usual again.
func (m *Machine) Fail(function string, code int) error {
	return m.edit(func(facts map[string]string) {
		facts["fail."+function] = strconv.Itoa(code)
		if code == 0 {
			delete(facts, "fail."+function)
		}
	})
}
