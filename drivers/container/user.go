package container

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/coinop/coinop/drivers"
)

// ids is how many users a container knows; outside they are numbers that belong to nobody, from idBase on, but for the one that
// the task runs as: that is the task's user. systemd keeps clear of these too.
const (
	ids    = 65536
	idBase = 0x70000000
)

// idMap says who is who: the container's one user outside, all others from idBase on.
type idMap struct{ inside, outer uint32 }

func newIDMap(inside, outer uint32) idMap { return idMap{inside, outer} }

func (m idMap) outside(id uint32) uint32 {
	if id == m.inside {
		return m.outer
	}
	return idBase + id
}

func (m idMap) mappings() []specs.LinuxIDMapping {
	var all []specs.LinuxIDMapping
	if m.inside > 0 {
		all = append(all, specs.LinuxIDMapping{ContainerID: 0, HostID: idBase, Size: m.inside})
	}
	all = append(all, specs.LinuxIDMapping{ContainerID: m.inside, HostID: m.outer, Size: 1})
	if next := m.inside + 1; next < ids {
		all = append(all, specs.LinuxIDMapping{ContainerID: next, HostID: idBase + next, Size: ids - next})
	}
	return all
}

func (m idMap) text() string {
	var s strings.Builder
	for _, r := range m.mappings() {
		fmt.Fprintf(&s, "%d %d %d\n", r.ContainerID, r.HostID, r.Size)
	}
	return s.String()
}

// user is who a command runs as, in the container's own numbers.
type user struct{ uid, gid uint32 }

// findUser turns what the image says into numbers, by the image's own lists where they are names.
func findUser(image Image) (user, error) {
	name, group, hasGroup := strings.Cut(image.User, ":")
	var who user
	if name != "" {
		fields, found, err := lookUp(image, "/etc/passwd", name, 4)
		if err != nil {
			return who, err
		}
		uid, isNumber := number(name)
		switch {
		case isNumber:
			who.uid = uid
		case !found:
			return who, fmt.Errorf("%w: the image runs as user %q, whom its /etc/passwd does not know", drivers.ErrInvalid, name)
		}
		if found {
			var ok, okGroup bool
			who.uid, ok = number(fields[2])
			who.gid, okGroup = number(fields[3])
			if !ok || !okGroup {
				return who, fmt.Errorf("%w: the image's /etc/passwd says of %q: %.100q", drivers.ErrInvalid, name, strings.Join(fields, ":"))
			}
		}
	}
	if hasGroup && group != "" {
		gid, isNumber := number(group)
		if !isNumber {
			fields, found, err := lookUp(image, "/etc/group", group, 3)
			if err != nil {
				return who, err
			}
			if found {
				gid, isNumber = number(fields[2])
			}
		}
		if !isNumber {
			return who, fmt.Errorf("%w: the image runs as group %q, which its /etc/group does not know", drivers.ErrInvalid, group)
		}
		who.gid = gid
	}
	return who, nil
}

// number reads a user's number. Containers have no others than these.
func number(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint32(n), err == nil
}
