package api

import (
	"net/http"

	"github.com/coinop/coinop/api/client"
	"github.com/coinop/coinop/consensus/machine"
)

// table is rows, joined once.
var table = rows()

// rows is the one list of every code: a test holds it against the machine's.
func rows() map[string]row {
	all := map[string]row{}
	for _, part := range []map[string]row{entryRows(), coinRows(), moneyRows(), keyRows(), workRows(), ownRows()} {
		for code, r := range part {
			all[code] = r
		}
	}
	return all
}

func entryRows() map[string]row {
	return map[string]row{
		string(machine.CodeFormat):          {http.StatusServiceUnavailable, "update the servers: they are of different versions"},
		string(machine.CodePanic):           {http.StatusInternalServerError, "nothing was changed; report it with the server's log"},
		string(machine.CodeInternal):        {http.StatusInternalServerError, "nothing was changed; report it with the server's log"},
		string(machine.CodeNotFirst):        {http.StatusConflict, "the cluster was created before; join it instead"},
		string(machine.CodeNoCluster):       {http.StatusServiceUnavailable, "create the cluster first: coinop server --bootstrap"},
		string(machine.CodeStale):           {http.StatusConflict, "the state has changed meanwhile; look again and repeat"},
		string(machine.CodeLimit):           {http.StatusUnprocessableEntity, "ask for less, or in parts"},
		string(machine.CodeInvalid):         {http.StatusUnprocessableEntity, "correct the field that is named"},
		string(machine.CodeRequestConflict): {http.StatusConflict, "use a new Idempotency-Key for a new request, or send the first one unchanged"},
		string(machine.CodeRequestOld):      {http.StatusConflict, "make a new Idempotency-Key: this one is older than what the servers remember"},
	}
}

func coinRows() map[string]row {
	return map[string]row{
		string(machine.CodeCoinsSpent):     {http.StatusConflict, "nothing was taken; send other coins, or ask /mint/v1/checkstate which of them are spent"},
		string(machine.CodeCoinsTwice):     {http.StatusUnprocessableEntity, "nothing was taken; send each coin once"},
		string(machine.CodeOutputUsed):     {http.StatusConflict, "nothing was taken; make new outputs, or ask /mint/v1/restore for signatures that were made"},
		string(machine.CodeOutputsTwice):   {http.StatusUnprocessableEntity, "nothing was taken; make each output and blank once"},
		string(machine.CodeKeysetUnknown):  {http.StatusUnprocessableEntity, "nothing was taken; these are of another mint: fetch /mint/v1/keysets and pay with coins of this one"},
		string(machine.CodeKeysetInactive): {http.StatusUnprocessableEntity, "nothing was taken; fetch /mint/v1/keysets again and make outputs of an active one"},
		string(machine.CodeKeysetStopped):  {http.StatusConflict, "nothing was taken; pay with coins of another keyset, or wait until the operator has reconciled this one: coinop operator snapshot reconcile"},
		string(machine.CodeUnbalanced):     {http.StatusUnprocessableEntity, "nothing was taken; inputs must be worth exactly pay + outputs + the input fee"},
		string(machine.CodeBlanksFew):      {http.StatusUnprocessableEntity, "nothing was taken; send at least as many blanks as are named"},
		string(machine.CodeBlanksInvalid):  {http.StatusUnprocessableEntity, "nothing was taken; make the blanks of one active keyset"},
		string(machine.CodeWayBack):        {http.StatusUnprocessableEntity, "nothing was taken; send blanks, name a claim key, or donate"},
		string(machine.CodeIssueCap):       {http.StatusConflict, "no more coins may be outstanding; wait until some are spent"},
		string(machine.CodeQuoteUnknown):   {http.StatusNotFound, "check the quote's id"},
		string(machine.CodeQuoteUnpaid):    {http.StatusConflict, "pay the quote first"},
		string(machine.CodeQuoteIssued):    {http.StatusConflict, "its coins were made before; ask /mint/v1/restore for their signatures"},
		string(machine.CodeQuoteExpired):   {http.StatusConflict, "ask for a new quote"},
		codeCoinsForged:                    {http.StatusUnprocessableEntity, "nothing was taken; these coins are not this mint's: send others"},
		codeCoinCondition:                  {http.StatusUnprocessableEntity, "nothing was taken; swap the coins at their mint for coins without a condition, or send others"},
		codeCoins:                          {http.StatusUnprocessableEntity, "nothing was taken; correct what is named"},
		codeAmount:                         {http.StatusUnprocessableEntity, "nothing was taken; amounts are whole numbers above zero and below the bound that is named"},
	}
}

func moneyRows() map[string]row {
	return map[string]row{
		client.CodePaymentRequired:        {http.StatusPaymentRequired, "pay what the quote names: inputs worth pay and the input fee, or a pot with its spend key"},
		string(machine.CodeMoneyShort):    {http.StatusPaymentRequired, "nothing was taken; pay more, ask for less time, or bid lower"},
		string(machine.CodePotUnknown):    {http.StatusNotFound, "check the fund id; a pot that was closed long ago is forgotten"},
		string(machine.CodePotClosed):     {http.StatusConflict, "nothing was taken; open a new pot"},
		string(machine.CodePotFull):       {http.StatusConflict, "nothing was taken; the pot holds all that it may: open another"},
		string(machine.CodeCapOthers):     {http.StatusConflict, "nothing was taken; ask its owner to raise the limit, or give less"},
		string(machine.CodeFundTaken):     {http.StatusConflict, "nothing was taken; make a new secret: this fund id is in use"},
		string(machine.CodeRefundUnknown): {http.StatusNotFound, "check the number: it may have been claimed or have expired"},
		string(machine.CodeOverdrawn):     {http.StatusConflict, "nothing was taken; tell the operator: more coins came in than are outstanding"},
		codePaymentInvalid:                {http.StatusPaymentRequired, "nothing was taken; answer the challenge of this 402 with the same body, or put the coins into the body"},
		codeTerms:                         {http.StatusUnprocessableEntity, "give two of pay, time and bid; the third follows"},
	}
}

func keyRows() map[string]row {
	return map[string]row{
		string(machine.CodeKeyWrong):     {http.StatusForbidden, "use the key that was made with this job, pot or refund, and the right one of them"},
		string(machine.CodeTokenUnknown): {http.StatusUnauthorized, "check the token, or ask an operator for one"},
		string(machine.CodeTokenUsed):    {http.StatusForbidden, "make a new token: it works once"},
		string(machine.CodeTokenExpired): {http.StatusUnauthorized, "ask an operator for a new token"},
		string(machine.CodeRole):         {http.StatusForbidden, "use a token of the role that is named"},
		codeTokenMissing:                 {http.StatusUnauthorized, "send a token: --token @FILE or COINOP_TOKEN_FILE"},
		codeKeyMissing:                   {http.StatusUnauthorized, "send the key as Authorization: Bearer"},
		codeOrigin:                       {http.StatusForbidden, "operate with the coinop command, not from a web page"},
		codeHost:                         {http.StatusForbidden, "call the server by its address, or have its operator name this host: --hosts NAME"},
		codeRetention:                    {http.StatusGone, "what was private is deleted after its retention; what is public is in the history"},
	}
}

func workRows() map[string]row {
	return map[string]row{
		string(machine.CodePoolUnknown):   {http.StatusNotFound, "see the pools with: coinop pools"},
		string(machine.CodePoolFloor):     {http.StatusUnprocessableEntity, "bid at least the floor: pay more, ask for less time or fewer resources, or use another pool"},
		string(machine.CodeTooBig):        {http.StatusUnprocessableEntity, "ask for at most what one node has: coinop nodes"},
		string(machine.CodeGPUKind):       {http.StatusUnprocessableEntity, "ask for a kind that this pool sells: coinop pools -v"},
		string(machine.CodeDriverRefused): {http.StatusUnprocessableEntity, "use a driver that this pool names and one of its machines has: coinop pools, coinop nodes"},
		string(machine.CodeJobUnknown):    {http.StatusNotFound, "check the number; finished jobs are in: coinop history"},
		string(machine.CodeJobEnded):      {http.StatusConflict, "it has ended: see its receipt"},
		string(machine.CodeJobOpen):       {http.StatusConflict, "wait until its jobs have ended, or cancel them"},
		string(machine.CodeRunUnknown):    {http.StatusNotFound, "see the job's runs with: coinop show"},
		string(machine.CodeNodeUnknown):   {http.StatusNotFound, "see the nodes with: coinop nodes"},
		string(machine.CodeNameTaken):     {http.StatusConflict, "choose another name"},
		string(machine.CodePriceAboveL):   {http.StatusConflict, "the state has changed meanwhile; look again and repeat"},
		string(machine.CodeServerUnknown): {http.StatusNotFound, "see the servers with: coinop operator servers"},
		codeBlobUnknown:                   {http.StatusNotFound, "send the bytes first: PUT /v1/blobs/{sha256}; outputs and logs are kept seven days"},
		codeBlobDigest:                    {http.StatusUnprocessableEntity, "send the bytes again, whole, under their own SHA-256"},
	}
}

func ownRows() map[string]row {
	return map[string]row{
		client.CodeOutcomeUnknown: {http.StatusServiceUnavailable, "repeat the same request, with the same Idempotency-Key"},
		client.CodeNoLeader:       {http.StatusServiceUnavailable, "repeat the request in a second"},
		codeReadOnly:              {http.StatusServiceUnavailable, "ask the operator: the servers say why in their logs"},
		codeNoRoom:                {http.StatusInsufficientStorage, "ask the operator for room on the servers' disks"},
		codeIndexAhead:            {http.StatusServiceUnavailable, "this server is behind; repeat the request, or ask another server"},
		codeBody:                  {http.StatusBadRequest, "send JSON as /openapi.json describes it"},
		codeNotFound:              {http.StatusNotFound, "see /openapi.json for what there is"},
		codeUpgrade:               {http.StatusUpgradeRequired, "connect with a WebSocket client, or use: coinop shell"},
		codeMethod:                {http.StatusMethodNotAllowed, "see /openapi.json for what there is"},
		codeTooLarge:              {http.StatusRequestEntityTooLarge, "send less at once; files travel as inputs"},
		codeHeaderLarge:           {http.StatusRequestHeaderFieldsTooLarge, "nothing was taken; send the coins in the body, as inputs: it needs no challenge"},
		codeBusy:                  {http.StatusServiceUnavailable, "repeat the request in a second"},
		codeTooMany:               {http.StatusTooManyRequests, "slow down; many jobs are best paid from one pot"},
		codeNotHere:               {http.StatusNotImplemented, "ask another server"},
		codeNoKeys:                {http.StatusServiceUnavailable, "repeat the same request in a second, or ask another server"},
		codeBug:                   {http.StatusInternalServerError, "repeat the request; if it stays, report it with the server's log"},
	}
}
