package alert

import (
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// fill sets every field that v reaches, so that the test covers new fields too.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Now().UTC().Add(time.Duration(*n) * time.Second))) // with a monotonic reading
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem, n)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key", *n)), elem)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString(fmt.Sprint("text", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n) % 4)
	default:
		panic("a document has a " + v.Kind().String())
	}
}

func empty[V any](m map[string]V) {
	maps.DeleteFunc(m, func(string, V) bool { return true })
}

// A copy equals the document that is read back from JSON, and shares nothing that
// decisions change in place.
func TestClone(t *testing.T) {
	d, n := newDocument(), 0
	fill(reflect.ValueOf(d).Elem(), &n)
	d.Version = documentVersion
	for _, in := range d.Instances {
		for _, o := range in.observers() {
			for _, c := range o.Checks {
				c.Status = health.Fail
			}
		}
	}
	before, err := d.encode()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := decode(before)
	if err != nil {
		t.Fatal(err)
	}
	c := d.clone()
	if !reflect.DeepEqual(c, stored) {
		t.Errorf("the copy has\n%+v\nand the stored document\n%+v", c, stored)
	}
	// What decisions do to a document in place.
	c.clamp(time.Time{}.Add(time.Hour))
	c.prune(time.Now().Add(1000 * time.Hour))
	for _, al := range c.Alerts {
		al.Told["another"] = &told{}
		for _, x := range al.Told {
			x.Messages, x.Face = 0, ""
		}
	}
	for _, in := range c.Instances {
		in.Unclean[0].At = time.Time{}
		for _, o := range in.observers() {
			o.Beat++
			for _, x := range o.Checks {
				x.Output, x.Changes[0] = "", time.Time{}
			}
			empty(o.Checks)
		}
	}
	for _, r := range c.Receivers {
		r.Attempts = 0
		empty(r.Threads)
	}
	empty(c.Alerts)
	empty(c.Instances)
	empty(c.Receivers)
	after, err := d.encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("a change of the copy reached the document:\n%s\n%s", before, after)
	}
}
