package shim

import "strconv"

// Spec is what a shim is told.
type Spec struct {
	Record  string // the status file, to be made
	Spare   string // a file to make it of; "": none
	LogDir  string // made with the first byte, if it is not there
	WorkDir string
	Argv    []string
	Env     []string

	UID, GID  uint32
	SetUser   bool
	Private   bool // process numbers, shared memory and a view of the file system of its own; needs root
	FilesMax  int64
	FileBytes int64 // of any single file

	LogHeadBytes, LogTailBytes int64

	LeaseUntil       int64
	LeaseGraceMillis int64
	KillDelayMillis  int64
	Missing          uint32 // bits for the record; the shim only keeps them

	Cgroups []Cgroup
}

// CgroupKind says what a cgroup folder is good for.
type CgroupKind byte

const (
	Unified CgroupKind = '2' // version 2
	Memory  CgroupKind = 'm' // the rest version 1
	Pids    CgroupKind = 'p'
	CPU     CgroupKind = 'c'
	Freezer CgroupKind = 'f'
	CPUAcct CgroupKind = 'a'
)

// Cgroup is a folder that the shim makes, writes to, puts the task into and removes.
type Cgroup struct {
	Kind   CgroupKind
	Dir    string
	Writes []CgroupWrite
}

// CgroupWrite is a file of a cgroup and what to write into it.
type CgroupWrite struct {
	File, Value string
	Optional    bool // a kernel may lack the file
}

func (s Spec) arguments() []string {
	args := make([]string, 0, 16+len(s.Argv))
	args = append(args, "coinop-shim", "s"+s.Record, "d"+s.WorkDir, "o"+s.LogDir)
	number := func(letter string, n int64) {
		if n > 0 {
			args = append(args, letter+strconv.FormatInt(n, 10))
		}
	}
	if s.SetUser {
		args = append(args, "u"+strconv.FormatUint(uint64(s.UID), 10), "g"+strconv.FormatUint(uint64(s.GID), 10))
	}
	if s.Private {
		args = append(args, "p")
	}
	number("f", s.FilesMax)
	number("b", s.FileBytes)
	number("h", s.LogHeadBytes)
	number("t", s.LogTailBytes)
	number("G", s.LeaseGraceMillis)
	number("k", s.KillDelayMillis)
	number("m", int64(s.Missing))
	if s.LeaseUntil != 0 {
		args = append(args, "l"+strconv.FormatInt(s.LeaseUntil, 10))
	}
	for _, c := range s.Cgroups {
		args = append(args, "c"+string(rune(c.Kind))+c.Dir)
		for _, w := range c.Writes {
			file := w.File
			if w.Optional {
				file = "?" + file
			}
			args = append(args, "w"+file+"="+w.Value)
		}
	}
	return append(append(args, "--"), s.Argv...)
}
