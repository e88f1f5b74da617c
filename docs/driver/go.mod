module example.org/unshare

go 1.26.0

require (
	github.com/coinop/coinop v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/coinop/coinop => ../..
