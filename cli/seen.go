package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/coinop/coinop/api/client"
)

// seenFile lies in COINOP_HOME: what this user's commands have seen, so that a command that asks another server sees
// at least what the one before it has done. It is only a help: where it is lost, broken or cannot be written, nothing
// but that is missing.
const seenFile = "seen.json"

// seenMax bounds the clusters that are remembered; the newest stay.
const seenMax = 32

// seen is what was seen of one cluster.
type seen struct {
	Cluster string   `json:"cluster"`
	Index   uint64   `json:"index"`
	Servers []string `json:"servers"` // as they were named
}

func seenPath() (string, error) {
	dir, err := home()
	return filepath.Join(dir, seenFile), err
}

func readSeen() []seen {
	path, err := seenPath()
	if err != nil {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var list []seen
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// seenAt is what was seen of the cluster at these addresses.
func seenAt(servers []string) seen {
	for _, s := range readSeen() {
		for _, server := range s.Servers {
			if slices.Contains(servers, server) {
				return s
			}
		}
	}
	return seen{}
}

// keepSeen writes down what this command has seen. Two commands at once may lose one's word; the file is whole
// whatever happens.
func (a *app) keepSeen(c *client.Client) {
	now := seen{Servers: c.Servers()}
	now.Cluster, now.Index = c.Seen()
	if now.Cluster == "" || now.Cluster == a.began.Cluster && now.Index == a.began.Index {
		return
	}
	list := []seen{now}
	for _, s := range readSeen() {
		switch {
		case s.Cluster == now.Cluster:
			// Another command may have seen more meanwhile; less than this one began with means that the cluster goes
			// on from an older state.
			if now.Cluster != a.began.Cluster || now.Index >= a.began.Index {
				list[0].Index = max(now.Index, s.Index)
			}
			for _, server := range s.Servers {
				if !slices.Contains(list[0].Servers, server) && len(list[0].Servers) < seenMax {
					list[0].Servers = append(list[0].Servers, server)
				}
			}
		case len(list) < seenMax:
			s.Servers = slices.DeleteFunc(s.Servers, func(server string) bool { return slices.Contains(now.Servers, server) })
			if len(s.Servers) > 0 {
				list = append(list, s)
			}
		}
	}
	writeSeen(list)
}

func writeSeen(list []seen) {
	path, err := seenPath()
	if err != nil {
		return
	}
	raw, err := json.Marshal(list)
	if err != nil || os.MkdirAll(filepath.Dir(path), 0o711) != nil {
		return
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".seen-*")
	if err != nil {
		return
	}
	_, err = part.Write(raw)
	if closed := part.Close(); err == nil {
		err = closed
	}
	if err != nil || os.Rename(part.Name(), path) != nil {
		os.Remove(part.Name())
	}
}
