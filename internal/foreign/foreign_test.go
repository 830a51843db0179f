package foreign

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
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

type waits struct{ error }

func (waits) RetryAfter() time.Duration { panic("no clock") }

func TestError(t *testing.T) {
	t.Parallel()
	fine := fmt.Errorf("sending: %w", errors.Join(errors.New("a"), errors.New("b")))
	if got := Error(fine); !errors.Is(got, fine) || Error(nil) != nil {
		t.Error(got)
	}
	var none *fatal
	for _, err := range []error{none, fmt.Errorf("sending: %w", none), errors.Join(fine, fmt.Errorf("%w", none)), waits{fine}} {
		got := Error(err)
		if errors.Is(got, err) || !strings.Contains(got.Error(), "whose methods do not work: it panicked: ") {
			t.Errorf("%T: %v", err, got)
		}
	}
}
