package wallet

// Secret is what a job or a pot is controlled with: one for each, drawn by the
// client and written down before it is sent. All its keys follow from it.
type Secret [32]byte

// String keeps the secret out of logs.
func (Secret) String() string { return "secret" }

// GoString keeps the secret out of logs.
func (Secret) GoString() string { return "wallet.Secret" }
