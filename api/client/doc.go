// Package client speaks the HTTP interface of a cluster: its JSON types, which the servers use too, and a client that tries all servers.
package client
