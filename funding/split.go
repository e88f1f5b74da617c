package funding

import "math/big"

// Part is one of the things that a charge is for, and its size beside the others.
type Part struct {
	What string
	Size *big.Int
}

// PartOf is a part as large as so much at such a weight; the scale brings parts of other units to one measure.
func PartOf(what string, amount, weight, scale int64) Part {
	size := new(big.Int).Mul(big.NewInt(amount), big.NewInt(weight))
	return Part{what, size.Mul(size, big.NewInt(scale))}
}

// Split gives each part its share of a total, to the micro-unit: each is rounded down, and the last takes the rest, so that
// the lines are the total. Without parts there are no lines.
func Split(total Amount, parts []Part) []Line {
	whole := new(big.Int)
	for _, p := range parts {
		whole.Add(whole, p.Size)
	}
	if whole.Sign() <= 0 {
		return nil
	}
	lines, left := make([]Line, len(parts)), total
	for i, p := range parts {
		share := new(big.Int).Mul(big.NewInt(int64(total)), p.Size)
		lines[i] = Line{p.What, Amount(share.Quo(share, whole).Int64())}
		left -= lines[i].Amount
	}
	lines[len(lines)-1].Amount += left
	return lines
}
