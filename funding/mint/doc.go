// Package mint knows what the mint allows and how it signs it.
//
// Everything here is a pure function of its arguments but for the sealed file
// of the secret: no clock, no randomness, no state. Time is cluster time, handed
// in as `at`; the records are kept by whoever replicates them.
package mint
