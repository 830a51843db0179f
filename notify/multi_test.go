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

func TestMulti(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	good, bad := &channel{}, &channel{err: errDown}
	panicking := Func(func(context.Context, Message) error { panic("broken") })
	m, err := NewMulti([]Notifier{bad, good, panicking}, &MultiOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Notify(t.Context(), Message{Subject: "x"}); err != nil {
		t.Errorf("one channel took it: %v", err)
	}
	if len(good.got) != 1 || good.got[0].Time.IsZero() || strings.Count(log.String(), "did not take") != 2 {
		t.Errorf("got %v, log %s", good.got, log.String())
	}
	log.Reset()
	m, err = NewMulti([]Notifier{bad, panicking}, &MultiOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Notify(t.Context(), Message{}); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "broken") || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("all failed: %v", err)
	}
	if !strings.Contains(log.String(), "goroutine") {
		t.Errorf("the stack is in no log: %s", log.String())
	}
	for _, channels := range [][]Notifier{nil, {nil}} {
		if _, err := NewMulti(channels, nil); err == nil {
			t.Errorf("NewMulti(%v) succeeded", channels)
		}
	}
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
