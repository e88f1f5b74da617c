package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/coinop/coinop/drivers/container/image/bad"
)

// registry is a repository of a registry, spoken to as the OCI's distribution specification has it.
type registry struct {
	ref    Ref
	repo   name.Repository
	auth   Auth
	known  bool // there are credentials for it
	line   *http.Transport
	client http.Client
}

func openRegistry(ctx context.Context, ref Ref, auth Auth, stall time.Duration) (*registry, error) {
	repo := ref.image.Context()
	here := loopback(repo.RegistryStr())
	if here {
		var err error // ask for plain HTTP too
		if repo.Registry, err = name.NewRegistry(repo.RegistryStr(), name.Insecure); err != nil {
			return nil, err
		}
	}
	credentials, known := auth.of(repo)
	r := &registry{ref: ref, repo: repo, auth: auth, known: known, line: line(here, stall)}
	var pause pauses
	for {
		trip, err := transport.NewWithContext(ctx, repo.Registry, credentials, &patient{r.line, here, stall}, []string{repo.Scope("pull")})
		if err == nil {
			r.client.Transport = trip
			return r, nil
		}
		if err := pause.wait(ctx, r.explain(err), r.again); err != nil {
			r.close()
			return nil, err
		}
	}
}

func (r *registry) close() { r.line.CloseIdleConnections() }

// accepted are the manifests that are understood. Registries send others if these are not named.
func accepted() string {
	var all []string
	for _, t := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema2, types.DockerManifestList} {
		all = append(all, string(t))
	}
	return strings.Join(all, ",")
}

func (r *registry) manifest(ctx context.Context, digest string) ([]byte, string, error) {
	if digest == "" {
		digest = r.ref.image.Identifier()
	}
	var pause pauses
	for {
		all, mediaType, err := r.readManifest(ctx, digest)
		if err == nil {
			return all, mediaType, nil
		}
		if err := pause.wait(ctx, err, r.again); err != nil {
			return nil, "", err
		}
	}
}

func (r *registry) readManifest(ctx context.Context, tagOrDigest string) ([]byte, string, error) {
	answer, err := r.get(ctx, "manifests/"+tagOrDigest, http.Header{"Accept": {accepted()}})
	if err != nil {
		return nil, "", fmt.Errorf("manifest %s: %w", tagOrDigest, err)
	}
	defer answer.Body.Close()
	all, err := text(answer.Body, "manifest "+tagOrDigest)
	if err != nil {
		return nil, "", r.explain(err)
	}
	return all, answer.Header.Get("Content-Type"), nil
}

func (r *registry) blob(ctx context.Context, blob v1.Descriptor, from int64) (io.ReadCloser, error) {
	header := http.Header{}
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	answer, err := r.get(ctx, "blobs/"+blob.Digest.String(), header)
	if err != nil {
		return nil, err
	}
	if from > 0 && !strings.HasPrefix(answer.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
		if answer.StatusCode == http.StatusPartialContent {
			answer.Body.Close()
			return nil, bad.Errorf("the registry was asked for the bytes from %d on and gave others", from)
		}
		// It knows no ranges, so what we have comes once more.
		if _, err := io.CopyN(io.Discard, answer.Body, from); err != nil {
			answer.Body.Close()
			return nil, r.explain(err)
		}
	}
	return body{answer.Body, r}, nil
}

// body is an answer whose errors are for people.
type body struct {
	io.ReadCloser
	from *registry
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.from.explain(err)
	}
	return n, err
}

func (r *registry) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	at := url.URL{Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(), Path: "/v2/" + r.repo.RepositoryStr() + "/" + path}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, r.explain(err)
	}
	if answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusPartialContent {
		return answer, nil
	}
	answer.Body.Close()
	return nil, r.status(answer.StatusCode)
}

// status says what an answer means. What else a registry writes is not repeated: a stranger may have named any machine.
func (r *registry) status(code int) error {
	host := r.repo.RegistryStr()
	switch {
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && r.known:
		return bad.Errorf("the registry %s refuses the credentials that %s has for it (%d), or there is no such image", host, r.auth.path, code)
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && r.auth.helpers:
		return bad.Errorf("the registry %s wants credentials (%d), and %s names a program for them, which is not started: write them into the file, as `docker login` does without a credsStore", host, code, r.auth.path)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return bad.Errorf("the registry %s wants credentials and there are none for it (%d), or there is no such image", host, code)
	case code == http.StatusNotFound:
		return bad.Errorf("the registry %s has no such image, or no such part of it (404)", host)
	}
	return statusError{host, code}
}

type statusError struct {
	host string
	code int
}

func (s statusError) Error() string {
	return fmt.Sprintf("the registry %s answers %d %s", s.host, s.code, http.StatusText(s.code))
}

// explain leaves out of an error what is not for people: addresses with signatures in them, pages of HTML.
func (r *registry) explain(err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) {
		return r.status(refused.StatusCode)
	}
	if late := (stalled{}); errors.As(err, &late) { // of two ways of asking, with TLS and without, the one that got furthest
		return fmt.Errorf("the registry %s: %w", r.repo.RegistryStr(), late)
	}
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	if errors.Is(err, bad.Image) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("the registry %s: %w", r.repo.RegistryStr(), err)
}

func (r *registry) again(err error) bool {
	var (
		answered statusError
		late     stalled
	)
	if errors.As(err, &answered) {
		return answered.code >= 500 || answered.code == http.StatusTooManyRequests || answered.code == http.StatusRequestTimeout
	}
	return !errors.Is(err, bad.Image) && !errors.As(err, &late) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
