package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// channel is a Notifier that keeps what it gets and fails on request.
type channel struct {
	mu   sync.Mutex
	got  []Message
	err  error
	fail func(Message) error
}

func (c *channel) Notify(_ context.Context, m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.err
	if c.fail != nil {
		err = c.fail(m)
	}
	if err == nil {
		c.got = append(c.got, m)
	}
	return err
}

func (c *channel) subjects() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s []string
	for _, m := range c.got {
		s = append(s, m.Subject)
	}
	return strings.Join(s, ",")
}

func (c *channel) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

var errDown = errors.New("the receiver is down")

// A Multi has delivered when every channel has the message. A repetition goes to
// the others only.
func TestMulti(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	good, bad := &channel{}, &channel{err: errDown}
	calls := 0
	panicking := Func(func(context.Context, Message) error {
		if calls++; calls == 1 {
			panic("broken")
		}
		return nil
	})
	m, err := NewMulti([]Notifier{bad, good, panicking}, &MultiOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	msg := Message{Subject: "x", Time: noon}
	err = m.Notify(t.Context(), msg)
	if !errors.Is(err, errDown) || !strings.Contains(err.Error(), "broken") || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("two channels failed: %v", err)
	}
	if !strings.Contains(log.String(), "goroutine") {
		t.Errorf("the stack is in no log: %s", log.String())
	}
	if err := m.Notify(t.Context(), msg); !errors.Is(err, errDown) || strings.Contains(err.Error(), "broken") {
		t.Errorf("one channel is still down: %v", err)
	}
	bad.set(nil)
	if err := m.Notify(t.Context(), msg); err != nil {
		t.Errorf("the last one is back: %v", err)
	}
	if len(good.got) != 1 || len(bad.got) != 1 || calls != 2 {
		t.Errorf("deliveries: %d, %d, %d", len(bad.got), len(good.got), calls)
	}
	other := msg
	other.Subject = "y"
	if err := m.Notify(t.Context(), other); err != nil || len(good.got) != 2 {
		t.Errorf("another message: %v, %d", err, len(good.got))
	}
	if n := len(m.Notifiers()); n != 3 {
		t.Errorf("%d channels", n)
	}
	for _, channels := range [][]Notifier{nil, {nil}} {
		if _, err := NewMulti(channels, nil); err == nil {
			t.Errorf("NewMulti(%v) succeeded", channels)
		}
	}
}

// A channel that ignores its context costs the others nothing, and is called no
// second time while it hangs.
func TestMultiHangingChannel(t *testing.T) {
	t.Parallel()
	good := &channel{}
	release := make(chan struct{})
	var mu sync.Mutex
	calls := 0
	hang := Func(func(context.Context, Message) error {
		mu.Lock()
		calls++
		mu.Unlock()
		<-release
		return nil
	})
	m, err := NewMulti([]Notifier{hang, good}, &MultiOptions{Timeout: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := m.Notify(t.Context(), Message{ID: "1", Time: noon}); err == nil {
			t.Errorf("attempt %d: a channel that hangs took the message", i)
		}
	}
	mu.Lock()
	if calls != 1 || len(good.got) != 1 {
		t.Errorf("%d calls of the hanging channel, %d deliveries", calls, len(good.got))
	}
	mu.Unlock()
	close(release)
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &channel{}
		th, err := NewThrottle(c, &ThrottleOptions{Limit: 3, Per: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		send := func() error { return th.Notify(t.Context(), Message{Subject: "x", Text: "t", HTML: "h"}) }
		for i := range 10 {
			err := send()
			if (i < 3) != (err == nil) || (i >= 3 && !errors.Is(err, ErrThrottled)) {
				t.Errorf("message %d: %v", i, err)
			}
			time.Sleep(time.Minute)
		}
		if len(c.got) != 3 || strings.Contains(c.got[1].Text, "nothing more") || !strings.Contains(c.got[2].Text, "nothing more is sent until 01:00") {
			t.Errorf("got %+v", c.got)
		}
		time.Sleep(50 * time.Minute) // an hour after the first, not after the third
		if err := send(); err != nil {
			t.Error(err)
		}
		if err := send(); !errors.Is(err, ErrThrottled) {
			t.Errorf("the window must slide, not reset: %v", err)
		}
	})
	if _, err := NewThrottle(nil, nil); err == nil {
		t.Error("no notifier")
	}
	if _, err := NewThrottle(&channel{}, &ThrottleOptions{Limit: -1}); err == nil {
		t.Error("a negative limit")
	}
}
