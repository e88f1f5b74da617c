package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
)

// connect makes the client once; nothing is sent yet, though a server may be looked at.
func (a *app) connect() (*client.Client, error) {
	if a.api != nil {
		return a.api, nil
	}
	servers := strings.Split(a.servers, ",")
	a.http = client.NewTransport() // an answer of the mint leaves a connection open for the job
	config := client.Config{Servers: servers, HTTP: &http.Client{Transport: a.http}}
	if err := a.trust(a.http, servers); err != nil {
		return nil, err
	}
	if a.tokenFile != "" {
		token, err := a.secretFile(a.tokenFile)
		if err != nil {
			return nil, err
		}
		config.Token = token
	}
	c, err := client.New(config)
	if err != nil {
		return nil, usageError{err}
	}
	if a.began = seenAt(c.Servers()); a.began.Index > 0 {
		config.Cluster, config.Index = a.began.Cluster, a.began.Index
		if c, err = client.New(config); err != nil {
			return nil, usageError{err}
		}
	}
	a.api = c
	return c, nil
}

// jobNumber reads a job's number from the command line.
func jobNumber(arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("%q is not a job number; `coinop queue` lists them", arg)}
	}
	return n, nil
}
