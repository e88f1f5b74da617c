// Package source reads the manifests and blobs of container images from where they are.
package source

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Ref names an image, where it is and which one it is. The zero Ref names nothing.
type Ref struct {
	text   string
	path   string         // of an OCI layout or an archive; empty: in a registry
	digest string         // sha256:...; empty: whatever the tag or the file says
	image  name.Reference // in a registry
}

// Parse reads a reference as people write it: REPOSITORY[:TAG][@sha256:...] in a registry, or the absolute path of an
// OCI layout or of an archive, with @sha256:... where it holds several images.
func Parse(text string) (Ref, error) {
	ref := Ref{text: text}
	bare, digest, _ := strings.Cut(text, "@")
	if strings.HasSuffix(strings.ToLower(bare), ".sif") {
		return Ref{}, fmt.Errorf("image %q is an Apptainer image, which is no OCI image: give the reference that it was made from, as `apptainer inspect` tells it, or build it with podman or docker", text)
	}
	if strings.HasPrefix(text, "/") {
		if ref.path, ref.digest = filepath.Clean(bare), digest; strings.Contains(text, "@") {
			if err := checkDigest(digest); err != nil {
				return Ref{}, fmt.Errorf("image %q: %w", text, err)
			}
		}
		return ref, nil
	}
	if strings.HasPrefix(text, ".") {
		return Ref{}, fmt.Errorf("image %q: write the absolute path of an OCI layout or an archive", text)
	}
	var err error
	if ref.image, err = name.ParseReference(strings.TrimPrefix(text, "docker://"), name.WeakValidation); err != nil {
		return Ref{}, fmt.Errorf("image %q is not a reference: write REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:..., or an absolute path", text)
	}
	if by, ok := ref.image.(name.Digest); ok {
		if ref.digest = by.DigestStr(); checkDigest(ref.digest) != nil {
			return Ref{}, fmt.Errorf("image %q: %w", text, checkDigest(ref.digest))
		}
	}
	return ref, nil
}

// String is the reference as it was written.
func (r Ref) String() string { return r.text }

// Digest is the digest that the reference names, empty if it names none: a tag may mean another image tomorrow.
func (r Ref) Digest() string { return r.digest }

// Local says that the reference reaches for something of the machine itself: a path, or a registry on loopback.
// It is nothing that a stranger should name.
func (r Ref) Local() bool {
	return r.path != "" || r.image != nil && loopback(r.image.Context().RegistryStr())
}

// Registry is where the image is asked for; empty: in a file or a folder.
func (r Ref) Registry() string {
	if r.image == nil {
		return ""
	}
	return r.image.Context().RegistryStr()
}

// Repository is where a registry's image is, or the path; without tag and digest.
func (r Ref) Repository() string {
	if r.image == nil {
		return r.path
	}
	return r.image.Context().Name()
}

// loopback says whether a HOST[:PORT] is this machine, by its name alone.
func loopback(host string) bool {
	if only, _, err := net.SplitHostPort(host); err == nil {
		host = only
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

var errDigest = errors.New("a digest is sha256: and 64 hexadecimal digits")

func checkDigest(text string) error {
	digits, ok := strings.CutPrefix(text, "sha256:")
	if !ok || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return errDigest
	}
	return nil
}
