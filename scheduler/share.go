package scheduler

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// AbilityShare is among DriverFacts.Can of a driver whose tasks can work in a shared folder.
const AbilityShare = "share"

// notShared lists folders that a task has of its own, or that are the machine's innards: a folder in one of them would not be
// found under its name, or would cover what a container needs.
var notShared = [...]string{"/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp", "/work"}

// ShareMax bounds the name of a shared folder: it is a fact of each machine that has it.
const ShareMax = 250

// Below says whether a clean absolute path is a folder, or lies in it.
func Below(folder, p string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// ValidateShare checks the name of a folder that machines have in common.
func ValidateShare(dir string) error {
	if err := validateFolder("share", dir); err != nil {
		return err
	}
	if dir == "/" {
		return &FieldError{"share", "is all of a machine; name a folder, like /srv/shared"}
	}
	for _, own := range notShared {
		if Below(own, dir) {
			return &FieldError{"share", fmt.Sprintf("%q lies in %s, which a task has for itself; name a folder elsewhere, like /srv/shared", dir, own)}
		}
		if Below(dir, own) {
			return &FieldError{"share", fmt.Sprintf("%q holds %s, which a task has for itself; name a folder elsewhere, like /srv/shared", dir, own)}
		}
	}
	return atMost("share", len(dir), ShareMax, "bytes")
}

// validateFolder checks a path that is one way only of saying it.
func validateFolder(what, dir string) error {
	switch {
	case !printable(dir):
		return &FieldError{what, "holds what cannot be printed"}
	case !path.IsAbs(dir):
		return &FieldError{what, fmt.Sprintf("%q is no absolute path; begin with /", dir)}
	case path.Clean(dir) != dir:
		return &FieldError{what, fmt.Sprintf("%q is not in its short form: write %q", dir, path.Clean(dir))}
	}
	return atMost(what, len(dir), PathMax, "bytes")
}

func (p Pool) validateShare() error {
	switch {
	case p.Share == "":
		return nil
	case p.Admission == Open:
		return &FieldError{"share", "a pool that is open to anyone shares no folder: strangers would see each other's files; admit holders of a token only (admission trusted), or share nothing (an empty share)"}
	}
	return ValidateShare(p.Share)
}

func (w Work) validateChdir() error {
	switch {
	case w.Chdir == "":
		return nil
	case w.Box != nil && w.Box.WorkDir != "":
		return &FieldError{"chdir", "says where it starts, and so does workdir; say one of them"}
	}
	return validateFolder("chdir", w.Chdir)
}

// ShareFor is the share that a machine must have for a job that works in dir, "" where it names none. The driver need not be
// known here.
func (p *Pool) ShareFor(driver, dir string) (string, error) {
	switch {
	case dir == "":
		return "", nil
	case p.Share == "":
		return "", &FieldError{"chdir", fmt.Sprintf("the machines of pool %s share no folder; send files with input and keep them with output, or use a pool that shares one", p.Name)}
	case !Below(p.Share, dir):
		return "", &FieldError{"chdir", fmt.Sprintf("%q is not in %s, which is what the machines of pool %s share; name a folder in there", dir, p.Share, p.Name)}
	case driver == "vm":
		return "", &FieldError{"chdir", "virtual machines have no shared folders; use the driver container or process, or send files with input"}
	}
	return p.Share, nil
}

// sharersOf lists the drivers of a node that say that their tasks can work in a shared folder.
func sharersOf(n *Node) []string {
	var able []string
	for _, d := range n.DriverFacts {
		if slices.Contains(d.Can, AbilityShare) {
			able = append(able, d.Name)
		}
	}
	slices.Sort(able)
	return able
}

// Offers says whether a node lets a task of the shape work where it wants to. A pool that shares another folder by now, or
// none, has no place for it.
func (n *Node) Offers(p *Pool, s *Shape) bool {
	return s.Share == "" || s.Share == p.Share && slices.Contains(n.Shares, s.Share) && slices.Contains(sharersOf(n), s.Driver)
}
