package cashu

// KeysetInfo is a keyset as GET /v1/keysets lists it.
type KeysetInfo struct {
	ID          KeysetID `json:"id"`
	Unit        string   `json:"unit"`
	Active      bool     `json:"active"`
	InputFeePPK uint64   `json:"input_fee_ppk"`
	FinalExpiry *int64   `json:"final_expiry,omitempty"` // seconds since 1970
}

// KeysetsResponse answers GET /v1/keysets.
type KeysetsResponse struct {
	Keysets []KeysetInfo `json:"keysets"`
}

// KeysetKeys is a keyset with its keys, as GET /v1/keys lists it.
type KeysetKeys struct {
	KeysetInfo
	Keys Keys `json:"keys"`
}

// Verify checks that the id is derived from what it came with, so that a mint
// cannot show two wallets two sets of keys under one name.
func (k KeysetKeys) Verify() error {
	var expiry int64
	if k.FinalExpiry != nil {
		expiry = *k.FinalExpiry
	}
	if k.ID == k.Keys.IDv2(k.Unit, k.InputFeePPK, expiry) || k.ID == k.Keys.IDv1() {
		return nil
	}
	return Refuse(CodeKeysetUnknown, "keyset %s is not the hash of its keys; do not use this mint", k.ID)
}

// KeysResponse answers GET /v1/keys and GET /v1/keys/{id}.
type KeysResponse struct {
	Keysets []KeysetKeys `json:"keysets"`
}

// SwapRequest is the body of POST /v1/swap.
type SwapRequest struct {
	Inputs  []Proof          `json:"inputs"`
	Outputs []BlindedMessage `json:"outputs"`
}

// SignaturesResponse answers POST /v1/swap and POST /v1/mint/{method}.
type SignaturesResponse struct {
	Signatures []BlindSignature `json:"signatures"`
}

// CoinState says whether a coin was spent.
type CoinState string

// The states of NUT-07.
const (
	CoinUnspent CoinState = "UNSPENT"
	CoinPending CoinState = "PENDING"
	CoinSpent   CoinState = "SPENT"
)

// CheckStateRequest is the body of POST /v1/checkstate.
type CheckStateRequest struct {
	Ys []Point `json:"Ys"`
}

// StateEntry tells the state of one coin.
type StateEntry struct {
	Y       Point     `json:"Y"`
	State   CoinState `json:"state"`
	Witness *string   `json:"witness,omitempty"`
}

// CheckStateResponse answers POST /v1/checkstate, in the order asked.
type CheckStateResponse struct {
	States []StateEntry `json:"states"`
}

// RestoreRequest is the body of POST /v1/restore.
type RestoreRequest struct {
	Outputs []BlindedMessage `json:"outputs"`
}

// RestoreResponse answers POST /v1/restore: those outputs that were signed, and
// their signatures in the same order.
type RestoreResponse struct {
	Outputs    []BlindedMessage `json:"outputs"`
	Signatures []BlindSignature `json:"signatures"`
}

// MethodSetting is a way in or out that a mint offers.
type MethodSetting struct {
	Method    string `json:"method"`
	Unit      string `json:"unit"`
	MinAmount *Units `json:"min_amount,omitempty"`
	MaxAmount *Units `json:"max_amount,omitempty"`
}

// NutSetting tells how a mint supports one document of the protocol.
type NutSetting struct {
	Supported       *bool            `json:"supported,omitempty"`
	Methods         []MethodSetting  `json:"methods,omitzero"` // wallets want an empty list where there is none
	Disabled        *bool            `json:"disabled,omitempty"`
	TTL             *uint64          `json:"ttl,omitempty"`
	CachedEndpoints []CachedEndpoint `json:"cached_endpoints,omitempty"`
}

// CachedEndpoint is a call whose answer can be had again (NUT-19).
type CachedEndpoint struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Contact is a way to reach the mint's operator.
type Contact struct {
	Method string `json:"method"`
	Info   string `json:"info"`
}

// Info answers GET /v1/info (NUT-06). Nuts is keyed by the document's number;
// what a mint says of documents unknown here is read and forgotten.
type Info struct {
	Name            string                `json:"name,omitempty"`
	Pubkey          string                `json:"pubkey,omitempty"`
	Version         string                `json:"version,omitempty"`
	Description     string                `json:"description,omitempty"`
	DescriptionLong string                `json:"description_long,omitempty"`
	Contact         []Contact             `json:"contact,omitempty"`
	MOTD            string                `json:"motd,omitempty"`
	IconURL         string                `json:"icon_url,omitempty"`
	URLs            []string              `json:"urls,omitempty"`
	Time            int64                 `json:"time,omitempty"`
	TOSURL          string                `json:"tos_url,omitempty"`
	Nuts            map[string]NutSetting `json:"nuts"`
}
