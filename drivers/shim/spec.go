package shim

import "strconv"

// Spec is what a shim is told.
type Spec struct {
	Record  string // the status file, to be made
	Spare   string // a file to make it of; "": none
	LogDir  string // made with the first byte, if it is not there
	WorkDir string
	Share   string // a folder of the machine's that others have too; "": none
	Chdir   string // where in Share it starts, as a path of the machine
	Argv    []string
	Env     []string

	UID, GID  uint32
	SetUser   bool
	Hold      bool // it runs the shim's own program as Argv: HoldArgv
	Private   bool // process numbers, shared memory and a view of the file system of its own; needs root
	FilesMax  int64
	FileBytes int64 // of any single file
	DiskBytes int64 // of the work folder; the shim only keeps it

	LogHeadBytes, LogTailBytes int64

	LeaseUntil       int64
	LeaseGraceMillis int64
	KillDelayMillis  int64
	Missing          uint32 // bits for the record; the shim only keeps them

	Cgroups []Cgroup
	Box     *Box // nil: it runs in the machine's own file system
}

// Box is a container. Its folder holds the runtime's bundle, and these that the shim needs: lower with an empty folder for each
// layer, named by its number; own/upper and own/work; rootfs; work, to find the
// work folder in; share, to find Chdir in, where there is one; and the files user, pid and init, empty, to mount things on.
// The runtime writes the first process's number to the file first, and what it has to say is found in errors.
type Box struct {
	Dir     string
	WorkDir string   // outside
	Program string   // the shim's own, to be shown as init
	Layers  []string // unpacked, the uppermost first
	UIDMap  string   // as /proc/PID/uid_map wants it
	GIDMap  string
	Runtime []string // how to call it
}

// LayersMax is how many layers a shim can lay over each other.
const LayersMax = 128

// Without begins a command to which what is mounted there is not.
func Without(program, mounted string) []string { return []string{program, "without", mounted} }

// FirstArgv is what a runtime has to start: the program Box.Dir/init, shown inside as the first of them.
func FirstArgv() []string { return []string{"/dev/coinop-init", "enter"} }

// HoldArgv is a command for a Box that does nothing until it is ended.
func HoldArgv() []string { return []string{"/dev/coinop-init", "hold"} }

// CgroupKind says what a cgroup folder is good for.
type CgroupKind byte

const (
	Unified CgroupKind = '2' // version 2
	Foreign CgroupKind = 'x' // made and removed for somebody else, and else left alone
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
	if s.Share != "" {
		args = append(args, "S"+s.Share, "C"+s.Chdir)
	}
	if s.SetUser {
		args = append(args, "u"+strconv.FormatUint(uint64(s.UID), 10), "g"+strconv.FormatUint(uint64(s.GID), 10))
	}
	if s.Private {
		args = append(args, "p")
	}
	if s.Hold {
		args = append(args, "H")
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
	if b := s.Box; b != nil {
		args = append(args, "B"+b.Dir, "I"+b.Program, "W"+b.WorkDir, "U"+b.UIDMap, "V"+b.GIDMap)
		for _, layer := range b.Layers {
			args = append(args, "L"+layer)
		}
		for _, word := range b.Runtime {
			args = append(args, "r"+word)
		}
	}
	return append(append(args, "--"), s.Argv...)
}
