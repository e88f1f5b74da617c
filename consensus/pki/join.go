package pki

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// JoinMax bounds a join request and its answer, each one line of JSON.
const JoinMax = 1 << 20

// JoinRequest is what a new member says. It is sent only after the authority's fingerprint was
// found to be the token's.
type JoinRequest struct {
	Version int             `json:"version"` // 1
	Kind    Kind            `json:"kind"`
	Secret  string          `json:"secret"`          // of the token, in hex
	Request []byte          `json:"request"`         // signing request, DER
	Name    string          `json:"name"`            // an executor's; a server's is ServerName of its key
	Pool    string          `json:"pool,omitempty"`  // an executor's
	Facts   json.RawMessage `json:"facts,omitempty"` // what an executor says of its machine
	Cluster string          `json:"cluster,omitempty"`
	HTTP    string          `json:"http,omitempty"`
	Reads   uint32          `json:"reads,omitempty"`
	Program string          `json:"program,omitempty"` // version of the program
}

// JoinAnswer is the certificate, or why there is none.
type JoinAnswer struct {
	Code      string       `json:"code"` // "ok", or permanent: what the machine refused with, or "busy": again later
	Detail    string       `json:"detail,omitempty"`
	Cluster   string       `json:"cluster,omitempty"`   // id
	Authority string       `json:"authority,omitempty"` // PEM
	Cert      string       `json:"cert,omitempty"`      // PEM
	Servers   []JoinServer `json:"servers,omitempty"`
}

// JoinServer is a server that the new member may talk to.
type JoinServer struct {
	ID   string `json:"id"`
	Addr string `json:"addr"`
	Pin  string `json:"pin"` // hex
}

// Codes of join answers that are not the machine's.
const (
	JoinOK   = "ok"
	JoinBusy = "busy"
	JoinBad  = "invalid"
)

// WriteLine sends a request or an answer.
func WriteLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a line: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write a line: %w", err)
	}
	return nil
}

// ReadLine reads one.
func ReadLine(r io.Reader, into any) error {
	line, err := bufio.NewReader(io.LimitReader(r, JoinMax)).ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(line) >= JoinMax {
		return fmt.Errorf("read a line: longer than %d bytes", JoinMax)
	}
	if err != nil {
		return fmt.Errorf("read a line: %w", err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("read a line: %w", err)
	}
	return nil
}

// SecretOf reads the token's secret out of a request.
func (q JoinRequest) SecretOf() ([32]byte, error) {
	var secret [32]byte
	b, err := hex.DecodeString(q.Secret)
	if err != nil || len(b) != len(secret) {
		return secret, errors.New("the token's secret is not 64 hex digits")
	}
	copy(secret[:], b)
	return secret, nil
}
