package source

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Auth is what opens registries, by their names. The zero Auth opens what needs no credentials.
type Auth struct {
	path    string
	hosts   map[string]authn.AuthConfig
	helpers bool
}

// ReadAuth reads a file in the form of docker's config.json. Only what is written in it counts: programs that it names
// (credsStore, credHelpers) are not started.
func ReadAuth(path string) (Auth, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Auth{}, fmt.Errorf("read registry credentials: %w", err)
	}
	var file struct {
		Auths       map[string]authn.AuthConfig `json:"auths"`
		CredsStore  string                      `json:"credsStore"`
		CredHelpers map[string]string           `json:"credHelpers"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return Auth{}, fmt.Errorf("read registry credentials: %s is not in the form of docker's config.json", path)
	}
	return Auth{path, file.Auths, file.CredsStore != "" || len(file.CredHelpers) > 0}, nil
}

// of finds the credentials for a registry, by the names under which docker and podman write them: with the repository
// (the longest match rules), the host alone, or a URL.
func (a Auth) of(repository name.Repository) (authn.Authenticator, bool) {
	host := repository.RegistryStr()
	var keys []string
	for at := repository.Name(); len(at) > len(host); at = parent(at) {
		keys = append(keys, at)
	}
	keys = append(keys, host, "https://"+host, "http://"+host, "https://"+host+"/v1/", "https://"+host+"/v2/")
	if host == name.DefaultRegistry {
		keys = append(keys, "docker.io")
	}
	for _, key := range keys {
		if found, ok := a.hosts[key]; ok && found != (authn.AuthConfig{}) {
			return authn.FromConfig(found), true
		}
	}
	return authn.Anonymous, false
}

// parent is a path without its last part.
func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}
