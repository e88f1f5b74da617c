package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/testbed/cluster"
)

// minted is what a stranger does at the mint with coins of its own.
type minted struct {
	addr    string
	keys    cashu.KeysetKeys
	swapped []byte   // a swap of a hundred outputs that was carried out: its answer is signed again each time
	chains  []*chain // one for each connection
}

// chainUnits is what a chain begins with; a swap of up to ten coins costs one unit.
const chainUnits = 128

// newMinted takes coins from a wallet, and changes them for one coin a chain and about a hundred of one unit.
func newMinted(ctx context.Context, addr string, h cluster.Home) (*minted, error) {
	var sent struct {
		Token string `json:"token"`
	}
	if err := h.JSON(ctx, &sent, "wallet", "send", fmt.Sprint((floodConnections+1)*chainUnits)); err != nil {
		return nil, err
	}
	token, err := cashu.DecodeToken(sent.Token)
	if err != nil {
		return nil, err
	}
	api, err := client.New(client.Config{Servers: []string{addr}})
	if err != nil {
		return nil, err
	}
	defer api.CloseIdle()
	keysets, err := api.MintKeys(ctx, "")
	if err != nil {
		return nil, err
	}
	m := &minted{addr: addr, keys: keysets.Keysets[0]}
	all := &chain{minted: m, coins: cashu.Bare(token.Proofs)}
	amounts := make([]cashu.Units, floodConnections)
	for i := range amounts {
		amounts[i] = chainUnits
	}
	left, err := all.left()
	if err != nil {
		return nil, err
	}
	rest := cashu.Split(left - floodConnections*chainUnits)
	if err := all.swap(ctx, api, append(amounts, rest...)); err != nil {
		return nil, err
	}
	for _, coin := range all.coins[:floodConnections] {
		m.chains = append(m.chains, &chain{minted: m, coins: []cashu.Proof{coin}})
	}
	last := &chain{minted: m, coins: all.coins[floodConnections:]}
	if left, err = last.left(); err != nil {
		return nil, err
	}
	ones := make([]cashu.Units, left)
	for i := range ones {
		ones[i] = 1
	}
	if err := last.swap(ctx, api, ones); err != nil {
		return nil, err
	}
	m.swapped = last.request
	return m, nil
}

// swaps gives each connection a chain: coins that are changed again and again, each time for new ones.
func (m *minted) swaps() func() dialogue {
	var opened atomic.Int64
	return func() dialogue {
		c := m.chains[int(opened.Add(1)-1)%len(m.chains)] // one at a time: there are as many as connections
		return c.next
	}
}

// chain is coins of one owner. Its keys are drawn when they are needed.
type chain struct {
	*minted
	coins   []cashu.Proof
	outputs []cashu.BlindedMessage // of the request that is under way, in order
	secrets []string
	factors []cashu.Scalar
	request []byte
}

// next takes the answer's coins, and asks for the next ones; a request that was refused for now is sent again.
func (c *chain) next(answer []byte) []byte {
	if c.request != nil && c.take(answer) != nil {
		return c.request
	}
	left, err := c.left()
	if err == nil {
		err = c.ask(cashu.Split(left))
	}
	if err != nil {
		panic(err) // coins of our own
	}
	return c.request
}

// left is what the coins are worth but for the fee.
func (c *chain) left() (cashu.Units, error) {
	sum, err := cashu.SumProofs(c.coins)
	if err != nil {
		return 0, err
	}
	left := sum - cashu.Units((c.keys.InputFeePPK*uint64(len(c.coins))+999)/1000)
	if left <= 0 {
		return 0, errors.New("a chain of swaps has no coins left: begin with more")
	}
	return left, nil
}

// ask prepares a swap of all coins for others.
func (c *chain) ask(amounts []cashu.Units) error {
	c.outputs, c.secrets, c.factors = nil, nil, nil
	for _, amount := range amounts {
		secret, drawn := client.NewSecret().Hex(), client.NewSecret()
		factor := cashu.Scalar(drawn)
		factor[0] = 0 // below the order of the curve
		blinded, err := cashu.Blind([]byte(secret), factor)
		if err != nil {
			return err
		}
		c.outputs = append(c.outputs, cashu.BlindedMessage{Amount: amount, ID: c.keys.ID, B_: blinded})
		c.secrets, c.factors = append(c.secrets, secret), append(c.factors, factor)
	}
	c.request = post(c.addr, "/mint/v1/swap", mustJSON(cashu.SwapRequest{Inputs: c.coins, Outputs: c.outputs}), "")
	return nil
}

// take makes coins of an answer; one that is none leaves the chain as it was.
func (c *chain) take(answer []byte) error {
	var signed cashu.SignaturesResponse
	if err := json.Unmarshal(answer, &signed); err != nil {
		return err
	}
	if len(signed.Signatures) != len(c.outputs) {
		return fmt.Errorf("%d signatures for %d outputs", len(signed.Signatures), len(c.outputs))
	}
	coins := make([]cashu.Proof, len(c.outputs))
	for i, s := range signed.Signatures {
		key, ok := c.keys.Keys.For(s.Amount)
		if !ok {
			return fmt.Errorf("no key for %d", s.Amount)
		}
		point, err := cashu.Unblind(s.C_, c.factors[i], key)
		if err != nil {
			return err
		}
		coins[i] = cashu.Proof{Amount: s.Amount, ID: s.ID, Secret: c.secrets[i], C: point}
	}
	c.coins, c.request = coins, nil
	return nil
}

// swap carries one out and waits for it.
func (c *chain) swap(ctx context.Context, api *client.Client, amounts []cashu.Units) error {
	if err := c.ask(amounts); err != nil {
		return err
	}
	request := c.request
	answer, err := api.Swap(ctx, cashu.SwapRequest{Inputs: c.coins, Outputs: c.outputs})
	if err != nil {
		return fmt.Errorf("change coins: %w", err)
	}
	err = c.take(mustJSON(answer))
	c.request = request
	return err
}
