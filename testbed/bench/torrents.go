package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/cluster"
)

// torrents makes the floods that are tried, each of what one stranger with a token and a wallet can do.
func torrents(ctx context.Context, c *cluster.Cluster) ([]torrent, error) {
	addr := c.Servers[0].HTTP
	raw, err := os.ReadFile(c.TokenFile())
	if err != nil {
		return nil, fmt.Errorf("read the operator's token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	stranger := c.Home("stranger", c.Addr(), c.TokenFile())
	pot, err := fill(ctx, stranger, "900000", true)
	if err != nil {
		return nil, err
	}
	jobs, err := newSubmission(addr, token, pot, small)
	if err != nil {
		return nil, err
	}
	array := small
	array.Array = &client.Array{Last: 99_999, AtOnce: 1}
	arrays, err := newSubmission(addr, token, pot, array)
	if err != nil {
		return nil, err
	}
	m, err := newMinted(ctx, addr, stranger)
	if err != nil {
		return nil, err
	}
	larger := client.SubmitRequest{Job: small, Keys: client.NewSecret().Keys()}
	larger.Job.Array = &client.Array{Last: 999_999}
	unpaid := post(addr, "/v1/jobs", mustJSON(client.SubmitRequest{Job: small, Keys: client.NewSecret().Keys()}), token)
	forged := post(addr, "/v1/jobs", forged(m.keys.ID), token)
	millions := post(addr, "/v1/jobs", mustJSON(larger), token)
	list := post(addr, "/v1/jobs", []byte(`{"job":{"command":[`+strings.Repeat(`"",`, 300_000)+`""]}}`), "")
	watch := []byte("GET /v1/events?follow=true HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
	log, err := jobs.own(ctx, addr, "/logs/stdout?follow=true")
	if err != nil {
		return nil, err
	}
	same := func(request []byte) func() dialogue { return again(func() []byte { return request }) }
	return []torrent{
		{"unpaid calls", "127.0.0.2", same(unpaid), false},
		{"forged coins, 200 each", "127.0.0.3", same(forged), false},
		{"the same swap again", "127.0.0.4", same(m.swapped), false},
		{"swaps of its own coins", "127.0.0.5", m.swaps(), false},
		{"one-credit jobs", "127.0.0.6", again(jobs.next), false},
		{"one-credit arrays of 100,000 tasks", "127.0.0.7", again(arrays.next), false},
		{"arrays of a million tasks", "127.0.0.8", same(millions), false},
		{"lists of 300,000 elements", "127.0.0.9", same(list), false},
		{"streams of all events", "127.0.0.10", same(watch), true},
		{"streams of a log", "127.0.0.11", same(log), true},
	}, nil
}

// post is a request as it is sent.
func post(host, path string, body []byte, token string) []byte {
	var b bytes.Buffer
	b.WriteString("POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	if token != "" {
		b.WriteString(client.HeaderToken + ": " + token + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // wire types of our own
	}
	return raw
}

// forged is a submission with coins that nobody has signed; all else about it is right.
func forged(keyset cashu.KeysetID) []byte {
	point, err := cashu.Blind([]byte("no coin"), cashu.Scalar{31: 1})
	if err != nil {
		panic(err) // a constant
	}
	r := client.SubmitRequest{Job: small, Keys: client.NewSecret().Keys(), Payment: client.Payment{Pay: 180}}
	for range 200 { // their input fee is 20
		r.Inputs = append(r.Inputs, cashu.Proof{Amount: 1, ID: keyset, Secret: client.NewSecret().Hex(), C: point})
	}
	return mustJSON(r)
}
