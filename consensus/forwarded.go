package consensus

import (
	"github.com/coinop/coinop/consensus/machine"
	"github.com/coinop/coinop/funding"
)

func forward(r machine.Result) forwarded {
	return forwarded{Index: r.Index, At: int64(r.At), Code: string(r.Code), Detail: r.Detail, Answer: r.Answer, Sum: r.Sum}
}

func (f forwarded) result() machine.Result {
	return machine.Result{
		Index: f.Index, At: funding.Millis(f.At), Code: machine.Code(f.Code), Detail: f.Detail, Answer: f.Answer, Sum: f.Sum,
	}
}
