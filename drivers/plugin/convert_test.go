package plugin

import (
	"reflect"
	"testing"

	"github.com/coinop/coinop/drivers"
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
	case reflect.Uint32:
		v.SetUint(7)
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
	var task drivers.Task
	var description drivers.Description
	var status drivers.Status
	var control drivers.Control
	for _, p := range []any{&task, &description, &status, &control} {
		fill(t, reflect.ValueOf(p).Elem())
	}
	if got := taskFromWire(taskToWire(task)); !reflect.DeepEqual(got, task) {
		t.Errorf("sent %+v, arrived %+v", task, got)
	}
	if got := describeFromWire(describeToWire(description)); !reflect.DeepEqual(got, description) {
		t.Errorf("sent %+v, arrived %+v", description, got)
	}
	if got := controlFromWire(controlToWire("x", control)); got != control {
		t.Errorf("sent %+v, arrived %+v", control, got)
	}
	if got := statusFromWire(statusToWire(status)); !reflect.DeepEqual(got, status) {
		t.Errorf("sent %+v, arrived %+v", status, got)
	}
}
