package api

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func newDeadline(parent context.Context, after time.Duration) *deadline {
	return &deadline{Context: parent, at: time.Now().Add(after)}
}

func TestDeadlineEndsInTime(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(*deadline){
		"only Err is asked": func(*deadline) {},
		"Done is asked":     func(d *deadline) { d.Done() },
		"another is made from it": func(d *deadline) {
			child, cancel := context.WithCancel(d)
			defer cancel()
			<-child.Done()
			if !errors.Is(child.Err(), context.DeadlineExceeded) {
				t.Error("the other ended with", child.Err())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDeadline(t.Context(), time.Second)
				defer d.stop()
				use(d)
				time.Sleep(time.Second - 1)
				if elapsed := time.Until(d.at); elapsed > 0 && d.Err() != nil {
					t.Fatal("ended before its time:", d.Err())
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if err := d.Err(); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal("Err is", err)
				}
				<-d.Done()
			})
		})
	}
}

func TestDeadlineEndsWithItsParent(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{false, true} {
		parent, cancel := context.WithCancel(t.Context())
		d := newDeadline(parent, time.Hour)
		if asked {
			d.Done()
		}
		cancel()
		if err := d.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("asked %v: Err is %v", asked, err)
		}
		<-d.Done()
		d.stop()
	}
}

func TestContextsOfADeadlineTakeNoGoroutine(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := newDeadline(parent, time.Hour)
	defer d.stop()
	before := runtime.NumGoroutine()
	for range 100 {
		_, cancel := context.WithCancel(d)
		defer cancel()
	}
	if n := runtime.NumGoroutine() - before; n > 50 {
		t.Errorf("%d goroutines for 100 contexts", n)
	}
}
