// Package api is the HTTP interface of a server: what users, wallets and operators ask, and what they are answered.
package api
