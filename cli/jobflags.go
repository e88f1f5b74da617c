package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/scheduler/jobfile"
)

// jobFlags is a job as the command line tells it: flags before COINOP_SUBMIT_ variables before the file.
type jobFlags struct {
	said jobfile.Job
}

// settingFlag is one setting as a flag.
type settingFlag struct {
	job     *jobfile.Job
	setting jobfile.Setting
	text    string
}

func (f *settingFlag) String() string { return f.text }

// Type is what the help shows for the value; pflag shows none of what may be said without one.
func (f *settingFlag) Type() string {
	if f.setting.Value == "" {
		return "bool"
	}
	return f.setting.Value
}

func (f *settingFlag) Set(v string) error {
	f.text = v
	return f.job.Set(f.setting.Name, v, os.LookupEnv)
}

func (f *jobFlags) add(cmd *cobra.Command, a *app) {
	for _, s := range jobfile.Settings() {
		flag := cmd.Flags().VarPF(&settingFlag{job: &f.said, setting: s}, s.Name, "", s.Help)
		if s.Value == "" {
			flag.NoOptDefVal = "true"
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("pool", a.completePools)
	_ = cmd.MarkFlagDirname("chdir")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"safe", "stream"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().SortFlags = false
}

// jobArgs takes [FILE|-] and, behind --, the command.
func jobArgs(cmd *cobra.Command, args []string) error {
	before := len(args)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		before = dash
	}
	if before > 1 {
		return fmt.Errorf("one job file at most, and the command behind --: coinop %s -- %s", cmd.Name(), args[0])
	}
	if len(args) == 0 && !cmd.Flags().Changed("image") && !cmd.Flags().Changed("vm") { // which may have a command of its own
		return errors.New("what is to run? Name a job file, - for standard input, or a command behind --")
	}
	return nil
}

// job reads what is to run.
func (a *app) job(cmd *cobra.Command, f *jobFlags, args []string) (jobfile.Job, error) {
	file, command := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		file, command = args[:dash], args[dash:]
	}
	job := f.said
	if len(command) > 0 {
		job.Command = command
	}
	fromEnv, err := jobfile.FromEnv(os.Environ(), os.LookupEnv)
	if err != nil {
		return job, usageError{err}
	}
	job = job.Over(fromEnv)
	if len(file) == 1 {
		read, err := a.readJobFile(file[0])
		if err != nil {
			return job, err
		}
		job = job.Over(read)
	}
	if len(job.Command) == 0 && job.Script == nil && job.Image == "" {
		return job, usageError{errors.New("the job has no command: add one behind --, or `command = [...]` to the file; only an image may have its own")}
	}
	return checked(job)
}

// checked is the job with paths of this machine as others know them, if it can be.
func checked(job jobfile.Job) (jobfile.Job, error) {
	if job.Chdir != "" {
		dir, err := filepath.Abs(job.Chdir)
		if err != nil {
			return job, fmt.Errorf("find %s: %w", job.Chdir, err)
		}
		job.Chdir = dir
	}
	if err := job.Check(); err != nil {
		return job, usageError{err}
	}
	return job, nil
}

func (a *app) readJobFile(name string) (jobfile.Job, error) {
	var (
		src []byte
		err error
	)
	if name == "-" {
		name = "standard input"
		src, err = io.ReadAll(io.LimitReader(a.in, jobfile.FileMax+1))
	} else {
		src, err = os.ReadFile(name)
	}
	if err != nil {
		return jobfile.Job{}, fmt.Errorf("read job file: %w", err)
	}
	job, err := jobfile.Parse(name, src, os.LookupEnv)
	if err != nil {
		return job, usageError{err}
	}
	return job, nil
}

// specOf is the job as the servers take it; its inputs' bytes are not sent yet.
func specOf(j jobfile.Job, inputs []inputFile) client.JobSpec {
	s := client.JobSpec{
		Name: j.Name, Pool: j.Pool, Driver: j.Driver, Image: j.Image, CPUMilli: j.CPUMilli, MemoryBytes: j.Memory, DiskBytes: j.Disk, GPUs: j.GPUs,
		TimeMs: int64(j.Time), BidMicro: int64(j.Bid), MaxTotalMicro: int64(j.MaxTotal),
		GPUKind: j.GPUKind, GPUMemoryBytes: j.GPUMemory, NVLink: j.NVLink,
		Entrypoint: j.Entrypoint, WorkDir: j.WorkDir, ReadOnly: j.ReadOnly, ShmBytes: j.ShmBytes, Chdir: j.Chdir,
		Command: j.Command, Script: j.Script, Hold: j.Hold, Env: j.Env, Outputs: j.Outputs, Labels: j.Labels,
	}
	switch j.Mode {
	case funding.Safe:
		s.Mode = "safe"
	case funding.Stream:
		s.Mode = "stream"
	}
	if j.Array != nil {
		s.Array = &client.Array{First: j.Array.First, Last: j.Array.Last, AtOnce: j.Array.AtOnce}
	}
	for _, in := range inputs {
		s.Inputs = append(s.Inputs, in.InputFile)
	}
	return s
}
