package executor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/coinop/coinop/executor/wire"
)

const (
	outputFilesMax = 4096
	outputNamesMax = 1 << 20 // bytes of all names together: they travel in one message
	notesMax       = 20
	noteBytesMax   = 400
	outputDeepest  = 100                 // folders in folders
	outputSeenMax  = 16 * outputFilesMax // folders looked at
)

// outputs finds what a task left, without ever leaving its folder: os.Root follows no link out of it, whatever the task
// has put there. Nothing of the task runs any more.
type outputs struct {
	root  *os.Root
	uid   uint32 // whose files count
	left  int64  // bytes that may still be taken
	most  int    // files that may be taken
	names int
	files []*wire.File
	notes []string
	more  int // notes left out
	seen  int // folders
}

func (o *outputs) note(format string, args ...any) {
	if len(o.notes) == notesMax {
		o.more++
		return
	}
	text := strings.Map(printable, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")) // errors repeat names as they are
	if len(text) > noteBytesMax {                                                          // names are the task's
		text = strings.ToValidUTF8(text[:noteBytesMax], "") + "…"
	}
	o.notes = append(o.notes, text)
}

func printable(c rune) rune {
	if unicode.IsControl(c) {
		return '?'
	}
	return c
}

// match lists the names of the regular files that the globs mean; of a folder, all in it.
func (o *outputs) match(globs []string) []string {
	found := map[string]bool{}
	for _, glob := range globs {
		matches, err := fs.Glob(o.root.FS(), path.Clean(glob))
		if err != nil || !fs.ValidPath(path.Clean(glob)) {
			o.note("output %q: not a pattern inside the work folder", glob)
			continue
		}
		if len(matches) == 0 {
			o.note("output %q: no file matches", glob)
		}
		for _, match := range matches {
			o.walk(match, found)
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (o *outputs) walk(top string, found map[string]bool) {
	err := fs.WalkDir(o.root.FS(), top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			o.note("output %q: %v", name, err)
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case name == scriptFile, name == tmpDir && top != tmpDir:
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.IsDir():
			if o.seen++; o.seen > outputSeenMax {
				o.note("output %q: there are more than %d folders", top, outputSeenMax)
				return fs.SkipAll
			}
			if strings.Count(name, "/") > outputDeepest {
				o.note("output %q: deeper than %d folders", name, outputDeepest)
				return fs.SkipDir
			}
		case len(found) > o.most:
			return fs.SkipAll
		default:
			found[name] = true
		}
		return nil
	})
	if err != nil {
		o.note("output %q: %v", top, err)
	}
}

// open opens one file if it may be taken: a plain file with a name that harms nobody, of the task's own user. The last
// keeps a hard link from passing on what only this executor may read.
func (o *outputs) open(name string) (*os.File, fs.FileInfo, error) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return nil, nil, errors.New("its name holds bytes that are no text")
	}
	f, err := o.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer must not hold us up
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a plain file")
	}
	if err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != o.uid {
			err = errors.New("it belongs to another user")
		}
	}
	if err == nil && info.Size() > o.left {
		err = fmt.Errorf("its %d bytes are more than the %d that outputs may still have", info.Size(), o.left)
	}
	if err == nil && (len(o.files) == o.most || o.names+len(name) > outputNamesMax) {
		err = fmt.Errorf("more than %d files, or too long names", o.most)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// take stores one file with the servers.
func (o *outputs) take(ctx context.Context, e *Executor, name string) error {
	f, info, err := o.open(name)
	if err != nil {
		o.note("output %q: %v", name, err)
		return nil
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		o.note("output %q: %v", name, err)
		return nil
	}
	d := digest(sum.Sum(nil))
	if size > 0 {
		err = e.put(ctx, d, size, func() (io.Reader, error) {
			_, err := f.Seek(0, io.SeekStart)
			return f, err
		})
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		o.note("output %q: the servers did not take it: %v", name, err)
		return nil
	}
	o.left -= size
	o.names += len(name)
	o.files = append(o.files, &wire.File{Name: name, Digest: d[:], Size: size, Mode: uint32(info.Mode().Perm())})
	return nil
}

// takeOutputs stores what the globs of the run mean.
func (r *run) takeOutputs(ctx context.Context, end *wire.End) error {
	globs := r.spec().GetOutputs()
	if len(globs) == 0 {
		return nil
	}
	root, err := os.OpenRoot(r.layout.run(r.id) + "/" + workDir)
	if err != nil {
		end.Notes = append(end.Notes, fmt.Sprintf("outputs: %v", err))
		return nil
	}
	defer root.Close()
	user, err := r.users.find(r.spec().GetUser(), r.config.User)
	if err != nil {
		return fmt.Errorf("take outputs: %w", err)
	}
	o := &outputs{root: root, uid: user.uid, left: r.spec().GetOutputBytesMax(), most: outputFilesMax}
	if user.uid == 0 {
		o.uid = uint32(os.Geteuid())
	}
	if o.left == 0 {
		o.left = r.config.OutputBytesMax
	}
	for _, name := range o.match(globs) {
		if err := o.take(ctx, r.Executor, name); err != nil {
			return err
		}
	}
	if o.more > 0 {
		o.notes = append(o.notes, fmt.Sprintf("and %d more outputs were left out", o.more))
	}
	end.Outputs, end.Notes = o.files, append(end.Notes, o.notes...)
	return nil
}
