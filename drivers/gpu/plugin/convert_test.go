package plugin

import (
	"reflect"
	"testing"

	"github.com/coinop/coinop/drivers/gpu"
)

// fill gives every field a value that is not its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("a %s in the contract", v.Kind())
	}
}

// Nothing of the contract is lost on its way through a socket, what is added to it later included.
func TestEveryFieldIsCarried(t *testing.T) {
	var inventory gpu.Inventory
	var grant gpu.Grant
	var usage gpu.Usage
	for _, p := range []any{&inventory, &grant, &usage} {
		fill(t, reflect.ValueOf(p).Elem())
	}
	if got := inventoryFromWire(inventoryToWire(inventory)); !reflect.DeepEqual(got, inventory) {
		t.Errorf("sent %+v, arrived %+v", inventory, got)
	}
	if got := grantFromWire(grantToWire(grant)); !reflect.DeepEqual(got, grant) {
		t.Errorf("sent %+v, arrived %+v", grant, got)
	}
	if got := usageFromWire(usageToWire(usage)); !reflect.DeepEqual(got, usage) {
		t.Errorf("sent %+v, arrived %+v", usage, got)
	}
}
