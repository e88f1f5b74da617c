package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/executor/wire"
)

const (
	scriptFile = "script"
	tmpDir     = "tmp"
	taskPath   = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// fill makes a fresh work folder with inputs and script, all the task user's. What an earlier
// executor left half done is done again.
func (r *run) fill(ctx context.Context, user user) error {
	dir := r.layout.run(r.id)
	work := filepath.Join(dir, workDir)
	if r.adopted {
		if err := removeAll(work); err != nil {
			return fmt.Errorf("clear work folder: %w", err)
		}
	}
	folders := map[string]fs.FileMode{work: 0o700, filepath.Join(work, tmpDir): 0o700}
	if notices := r.noticeDir(); notices != dir {
		folders[notices] = 0o755 // its user's, whoever that is, to read
	}
	for _, path := range slices.Sorted(maps.Keys(folders)) {
		if err := os.Mkdir(path, folders[path]); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if r.spec().GetFrom() == nil && (len(r.spec().GetInputs()) > 0 || len(r.spec().GetScript()) > 0) {
		if err := r.putFiles(ctx, work); err != nil {
			return err
		}
	}
	if user.uid == 0 {
		return nil
	}
	if err := own(work, user); err != nil {
		return fmt.Errorf("give the work folder to %s: %w", user.name, err)
	}
	return nil
}

// own gives the folder and all in it to the task's user. Nobody else could enter it so far, so nothing in it can change
// under our hands.
func own(work string, user user) error {
	return filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(user.uid), int(user.gid))
	})
}

func (r *run) putFiles(ctx context.Context, work string) error {
	root, err := os.OpenRoot(work)
	if err != nil {
		return fmt.Errorf("open work folder: %w", err)
	}
	defer root.Close()
	if script := r.spec().GetScript(); len(script) > 0 {
		if err := root.WriteFile(scriptFile, script, 0o700); err != nil {
			return fmt.Errorf("write script: %w", err)
		}
	}
	for _, input := range r.spec().GetInputs() {
		if err := r.putInput(ctx, root, input); err != nil {
			return err
		}
	}
	return nil
}

// putInput copies one input from the store. A copy, because the task may change its own.
func (r *run) putInput(ctx context.Context, root *os.Root, input *wire.Input) error {
	to := input.GetTo()
	if !filepath.IsLocal(to) || path.Clean(to) == "." || strings.ContainsRune(to, 0) {
		return refuse("input %q: its name must be a path inside the work folder", to)
	}
	if parent := path.Dir(path.Clean(to)); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return refuse("input %q: %v", to, err)
		}
	}
	mode := fs.FileMode(input.GetMode()) & 0o777
	f, err := root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return refuse("input %q: another file of the task has that name", to)
	}
	if err != nil {
		return refuse("input %q: %v", to, err)
	}
	digest, err := digestOf(input.GetDigest())
	if err == nil {
		err = r.store.copy(ctx, f, digest, input.GetSize(), r.fetch)
	}
	if err == nil {
		err = f.Chmod(mode | 0o400)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("input %q: %w", to, err)
	}
	return nil
}

// diskUnaskedBytes is how much a work folder may hold, its inputs aside, if the job has not asked for any disk: nobody may
// fill a machine for others.
const diskUnaskedBytes = 10 << 30

func diskUnasked(spec *wire.Spec) int64 {
	sum := int64(diskUnaskedBytes)
	for _, input := range spec.GetInputs() {
		sum += input.GetSize()
	}
	return sum
}

// environment is all that the task gets: a few names that every command expects, what the user gave, what the job is.
func (r *run) environment(order *wire.Order, now int64, work, notice string) []string {
	spec := r.spec()
	deadline, funded := "", ""
	if limit := spec.GetTimeLimitMs(); limit > 0 {
		deadline = unixSeconds(r.clusterTime(now) + limit)
		funded = deadline // what is held covers the limit, unless the servers say otherwise
	}
	if until := order.GetFundedUntilUnixMs(); until > 0 {
		funded = unixSeconds(until)
	}
	env := map[string]string{"HOME": work, "TMPDIR": filepath.Join(work, tmpDir)}
	if spec.GetImage() == "" { // an image has its own programs, and may say where they start
		env["PATH"], env["LANG"], env["PWD"] = taskPath, "C.UTF-8", cmp.Or(spec.GetChdir(), work)
	}
	for _, entry := range spec.GetEnv() {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" && !strings.HasPrefix(name, "COINOP_") {
			env[name] = value
		}
	}
	for name, value := range map[string]string{
		"JOB": strconv.FormatUint(spec.GetJob(), 10), "TASK": strconv.Itoa(int(spec.GetTask())),
		"RUN": strconv.FormatUint(r.id, 10), "NAME": spec.GetName(), "POOL": spec.GetPool(), "NODE": r.config.Name,
		"CPUS": thousandths(spec.GetCpuMilli()), "MEMORY_BYTES": strconv.FormatInt(spec.GetMemoryBytes(), 10),
		"DEADLINE": deadline, "FUNDED_UNTIL": funded, "NOTICE_FILE": notice,
	} {
		env["COINOP_"+name] = value
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func unixSeconds(millis int64) string {
	return strconv.FormatInt(millis/int64(time.Second/time.Millisecond), 10)
}

// thousandths writes 1500 as 1.5 and 2000 as 2.
func thousandths(n int64) string {
	if n%1000 == 0 {
		return strconv.FormatInt(n/1000, 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", n/1000, n%1000), "0")
}
