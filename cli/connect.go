package cli

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coinop/coinop/api/client"
)

// connect makes the client once; nothing is sent yet.
func (a *app) connect() (*client.Client, error) {
	if a.api != nil {
		return a.api, nil
	}
	a.http = newTransport()
	config := client.Config{Servers: strings.Split(a.servers, ","), HTTP: &http.Client{Transport: a.http}}
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

// newTransport makes the connections of all requests of a command: an answer of the mint leaves one open for the job.
// There is no timeout for the whole, since logs stream for hours.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		ResponseHeaderTimeout: 60 * time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
	}
}

// jobNumber reads a job's number from the command line.
func jobNumber(arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("%q is not a job number; `coinop queue` lists them", arg)}
	}
	return n, nil
}
