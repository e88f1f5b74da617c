package gpu

// Hardware says whether an error of NVIDIA's driver (XID) is the GPU's own, after which it may not be trusted until it was reset or
// replaced, and in words which. Others, such as 13, 31, 43, 45, are a program's mistakes.
func Hardware(xid int) (reason string, sick bool) {
	switch xid {
	case 48:
		return "memory lost two bits of a word", true
	case 61, 62:
		return "its microcontroller stopped", true
	case 63:
		return "memory is to be retired or remapped", true
	case 64:
		return "memory could not be retired or remapped", true
	case 74:
		return "NVLink failed", true
	case 79:
		return "it fell off the bus", true
	case 92:
		return "many single bits of memory were lost", true
	case 94:
		return "memory failed, contained", true
	case 95:
		return "memory failed, not contained", true
	case 119:
		return "its system processor does not answer", true
	case 120:
		return "its system processor failed", true
	case 140:
		return "memory failed and was not recovered", true
	case 143:
		return "it could not be started", true
	}
	return "", false
}
