package keep

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A request under way when its plugin is given up has its connection closed under it: it is made again to the next plugin. One
// that was cancelled otherwise is not.
func TestARequestWhoseConnectionIsClosedIsMadeAgain(t *testing.T) {
	for _, given := range []bool{true, false} {
		keeper, err := New[int](Config{Dir: "/nowhere", Command: []string{"none"}}, Contract{Errors: Errors{codes.Canceled: context.Canceled}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		first, second := new(int), new(int)
		keeper.set(first, nil)
		var asked []*int
		err = keeper.Call(t.Context(), func(l *int) error {
			if asked = append(asked, l); l == second {
				return nil
			}
			if given {
				keeper.set(nil, nil)
				keeper.set(second, nil)
			}
			return status.Error(codes.Canceled, "the connection is closing")
		})
		if given && (err != nil || len(asked) != 2) || !given && (!errors.Is(err, context.Canceled) || len(asked) != 1) {
			t.Errorf("given up %v: asked %d times, %v", given, len(asked), err)
		}
	}
}
