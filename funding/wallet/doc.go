// Package wallet keeps a client's coins.
//
// All of it lies in one SQLite file. Nothing is sent before it is written down:
// a payment's coins, its outputs and the whole request are stored in one
// transaction first, so that whatever happens afterwards the same request can
// be sent again and has the same answer. What is lost with the file comes back
// from the twelve words.
package wallet
