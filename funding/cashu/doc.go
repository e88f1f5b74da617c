// Package cashu speaks the Cashu protocol as a mint and a wallet both need it.
//
// It holds what is written in the protocol's documents (NUT-00 to 04, 06, 07,
// 09, 12, 13, 18, 20 and 24) and nothing of ours: the messages with their exact
// JSON, the arithmetic of blinding on the wallet's side, and decoders that are
// bounded and refuse what is not well formed. Multiplications with a mint's
// private key are not here: they must not leak the key through time, and live
// in package mint.
package cashu
