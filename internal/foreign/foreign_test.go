package foreign

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

type fatal struct{ code int }

func (f *fatal) Error() string { return fmt.Sprint(f.code) }

type quits struct{}

func (quits) String() string { runtime.Goexit(); return "" }

func TestCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    func()
		want string
	}{
		"returns":                {func() {}, ""},
		"panics":                 {func() { panic("no") }, "panicked: no"},
		"panics with nil":        {func() { panic(nil) }, "panicked: panic called with nil argument"}, //nolint:govet // the case of the test
		"ends its goroutine":     {runtime.Goexit, "ended its goroutine"},
		"panics, and text quits": {func() { panic(quits{}) }, "panicked"},
	} {
		fault := Call(c.f)
		switch {
		case c.want == "" && fault != nil, c.want != "" && fault == nil:
			t.Errorf("%s: %v", name, fault)
		case fault != nil && !strings.HasPrefix(fault.Error(), c.want):
			t.Errorf("%s: %q", name, fault.Error())
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	if got := Text(errors.New("down")); got != "down" {
		t.Error(got)
	}
	var none *fatal
	if got := Text(none); !strings.HasPrefix(got, "an error of type *foreign.fatal whose method Error panicked: ") {
		t.Error(got)
	}
}
