package machine

import (
	"slices"
	"testing"

	"github.com/coinop/coinop/funding"
	"github.com/coinop/coinop/funding/cashu"
	"github.com/coinop/coinop/scheduler"
)

// What handlers look up is what stories made, and nothing of anybody else's.
func TestLooksFindTheirOwn(t *testing.T) {
	w := populated(t)
	for _, line := range []string{
		"pool default grace=10s tranche=20s", "pot r by=alice pay=300", "node n2", "submit j3 pot=r mode=stream bid=2", "place j2 n2 count=2", "start j2", "finish j2", "start j2.1", "finish j2.1", "place j3 n2", "start j3",
	} {
		w.play(splitWords(line))
	}
	v := w.m.View()
	var jobs, own, files []scheduler.JobID
	v.Jobs(2, func(j *scheduler.Job) bool { jobs = append(jobs, j.ID); return true })
	v.JobsOfPot(1, func(j *scheduler.Job) bool { own = append(own, j.ID); return true })
	v.FilesOf(2, func(f *RunFiles) bool { files = append(files, f.Job); return true })
	if !slices.Equal(jobs, []scheduler.JobID{2, 3}) || !slices.Equal(own, jobs[:1]) || len(files) != 2 || v.JobCount() != 3 {
		t.Errorf("jobs %v, of the pot %v, files of %v", jobs, own, files)
	}
	if bill, ok := v.Bill(2); !ok || bill.Charged() != 2*funding.UnitMicro {
		t.Errorf("the bill of two seconds is %+v", bill)
	}
	streams := 0
	v.StreamsOf(4, func(s *funding.StreamHold) bool { streams++; return true })
	hold, ok := v.Stream(StreamID{Pot: 4, Pool: 1})
	if !ok || streams != 1 || hold.Runs != 1 {
		t.Errorf("%d streams of pot 4; in the pool: %+v", streams, hold)
	}
	v.StreamsOf(2, func(*funding.StreamHold) bool { t.Error("a closed pot has a stream"); return false })
	node, ok := v.NodeByName("n2")
	if !ok || len(v.Nodes()) != 2 || node.Open != 1 {
		t.Errorf("of %d nodes n2 is %+v", len(v.Nodes()), node)
	}
	if shape, ok := v.Shape(1); !ok || shape.Need.CPUMilli != 1000 {
		t.Errorf("shape 1 is %+v", shape)
	}
	for what, found := range map[string]bool{
		"bill": second(v.Bill(9)), "shape": second(v.Shape(9)), "stream": second(v.Stream(StreamID{Pot: 9, Pool: 1})), "receipt": second(v.Receipt(9)),
	} {
		if found {
			t.Errorf("a %s that is not there was found", what)
		}
	}
}

func second[T any](_ T, ok bool) bool { return ok }

// A server asks whether a request was carried out before it looks at the coins.
func TestARequestIsKnownByItsBodyAndByItsKey(t *testing.T) {
	w := begun(t)
	a := parseArgs(t, []string{"by=alice", "pay=5", "claim", "key=k"})
	request, payment := w.request(a), w.payment(a)
	coins := make([]cashu.SpentKey, len(payment.Coins.Inputs))
	for i, input := range payment.Coins.Inputs {
		coins[i] = input.Key
	}
	if _, known := w.m.View().Asked(request.Fingerprint); known {
		t.Error("known before it came")
	}
	r := w.apply(PotCreate{Request: request, Keys: keysOf("p"), Payment: payment})
	if r.Code != OK {
		t.Fatal(r.Code, r.Detail)
	}
	v := w.m.View()
	byBody, ok := v.Asked(request.Fingerprint)
	byKey, known := v.AskedOfCoins(coins, request.Key)
	if !ok || !known || string(byBody.Answer) != string(r.Answer) || string(byKey.Answer) != string(r.Answer) {
		t.Errorf("by its body %+v, by its key %+v", byBody, byKey)
	}
	slices.Reverse(coins)
	if _, known := v.AskedOfCoins(coins, request.Key); !known {
		t.Error("the order of its coins matters")
	}
	if _, known := v.AskedOfCoins(coins[:0], request.Key); known {
		t.Error("known without coins")
	}
	if _, known := v.AskedOfCoins(coins, [16]byte{1}); known {
		t.Error("known by another key")
	}
	// It comes again under the same key and fingerprint once its fingerprint alone is no longer found: the same answer.
	other := request
	other.Fingerprint[31]++
	if again := w.apply(PotCreate{Request: other, Keys: keysOf("p"), Payment: payment}); again.Code != OK || string(again.Answer) != string(r.Answer) {
		t.Errorf("%s %s", again.Code, again.Detail)
	}
	other.Fingerprint[0]++
	if again := w.apply(PotCreate{Request: other, Keys: keysOf("p"), Payment: payment}); again.Code != CodeRequestConflict {
		t.Errorf("another body: %s %s", again.Code, again.Detail)
	}
}
