package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func newSpool(t testing.TB, dir string, next Notifier, opts SpoolOptions) *Spool {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	s, err := NewSpool(dir, next, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runSpool runs s until the returned function is called.
func runSpool(t testing.TB, s *Spool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func TestSpoolRetries(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var attempts []time.Duration
		s := newSpool(t, dir, Func(func(context.Context, Message) error {
			attempts = append(attempts, time.Since(start))
			return errDown
		}), SpoolOptions{})
		stop := runSpool(t, s)
		synctest.Wait()
		before := time.Now()
		if err := s.Notify(t.Context(), Message{Subject: "x"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("Notify waited %v for a receiver that is down", took)
		}
		time.Sleep(3 * time.Hour)
		stop()
		if len(attempts) != 6 {
			t.Fatalf("attempts at %v", attempts)
		}
		for i, want := range []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour} {
			pause := attempts[i+1] - attempts[i]
			if pause < want*9/10 || pause > want*11/10+time.Minute { // it looks once a minute at least
				t.Errorf("pause %d: %v, want %v", i, pause, want)
			}
		}
		if st := s.Stats(); st != (SpoolStats{Failed: 6, Lost: 1}) {
			t.Errorf("%+v", st)
		}
	})
}

// The mail server refuses, and takes the same mail later from another process.
func TestSpoolFallback(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		other := &channel{}
		s := newSpool(t, dir, &channel{err: errDown}, SpoolOptions{Fallback: other, Delays: []time.Duration{time.Minute}})
		stop := runSpool(t, s)
		if err := s.Notify(t.Context(), Message{Subject: "x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		stop()
		if other.subjects() != "x" || s.Stats().Waiting != 0 {
			t.Errorf("the fallback got %q", other.subjects())
		}
	})
}

// A message outlives the process that accepted it.
func TestSpoolSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	down := newSpool(t, dir, &channel{err: errDown}, SpoolOptions{Delays: []time.Duration{time.Nanosecond}})
	m := Message{Subject: "x\ny", Text: "a\tb", HTML: "<b>", Level: Critical, Source: "s", Key: "k", Time: noon, Fields: []Field{{"n", "v"}}}
	if err := down.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if st := down.Stats(); st.Waiting != 1 || st.Failed != 1 {
		t.Fatalf("%+v", st)
	}
	if runtime.GOOS != "windows" {
		for _, name := range down.dir.list() {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		}
	}
	c := &channel{}
	up := newSpool(t, dir, c, SpoolOptions{})
	if left := up.Flush(t.Context()); left != 0 || len(c.got) != 1 {
		t.Fatalf("%d left, got %v", left, c.got)
	}
	if got, want := fmt.Sprint(c.got[0]), fmt.Sprint(m.prepared(noon, forms)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSpoolKeepsOrderWithinAThread(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &channel{}
		broken := true
		c.fail = func(m Message) error {
			if broken && m.Subject == "a1" {
				return errDown
			}
			return nil
		}
		s := newSpool(t, dir, c, SpoolOptions{})
		stop := runSpool(t, s)
		for _, subject := range []string{"a1", "a2", "b1", "-1", "-2"} {
			key := strings.Trim(subject[:1], "-")
			if err := s.Notify(t.Context(), Message{Subject: subject, Key: key}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := c.subjects(); got != "b1,-1,-2" {
			t.Errorf("while a1 fails: %s", got)
		}
		c.mu.Lock()
		broken = false
		c.mu.Unlock()
		time.Sleep(5 * time.Minute)
		stop()
		if got := c.subjects(); got != "b1,-1,-2,a1,a2" {
			t.Errorf("in the end: %s", got)
		}
	})
}

// While the receiver is down a full spool asks it three times, not a thousand.
func TestSpoolSparesADeadReceiver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		s := newSpool(t, dir, Func(func(context.Context, Message) error { attempts++; return errDown }), SpoolOptions{})
		for i := range 50 {
			if _, err := s.dir.add(spooled{Message: Message{Subject: fmt.Sprint(i)}.prepared(noon, forms)}, 1000); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if left := s.Flush(t.Context()); left != 50 || attempts != 3 {
			t.Errorf("%d left after %d attempts", left, attempts)
		}
	})
}

func TestSpoolBounded(t *testing.T) {
	t.Parallel()
	c := &channel{err: errDown}
	s := newSpool(t, t.TempDir(), c, SpoolOptions{MaxMessages: 2})
	for i := range 3 {
		err := s.Notify(t.Context(), Message{Subject: fmt.Sprint(i)})
		if (i < 2) != (err == nil) || (i == 2 && !(errors.Is(err, ErrSpoolFull) && errors.Is(err, errDown))) {
			t.Errorf("message %d: %v", i, err)
		}
	}
	c.set(nil)
	if err := s.Notify(t.Context(), Message{Subject: "now"}); err != nil || c.subjects() != "now" {
		t.Errorf("a full spool delivered %q: %v", c.subjects(), err)
	}
}

func TestSpoolSetsDamagedFilesAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000001-x"+spoolSuffix), []byte(`{"message":`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := &channel{}
	s := newSpool(t, dir, c, SpoolOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := s.Notify(t.Context(), Message{Subject: "good"}); err != nil {
		t.Fatal(err)
	}
	if s.Flush(t.Context()) != 0 || c.subjects() != "good" || !strings.Contains(log.String(), "set aside") {
		t.Errorf("got %q, log %s", c.subjects(), log.String())
	}
	if damaged, _ := filepath.Glob(filepath.Join(dir, "*.damaged")); len(damaged) != 1 {
		t.Errorf("the damaged file is gone: %v", damaged)
	}
}

// Another process that delivers from the same folder is not disturbed.
func TestSpoolSharedFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &channel{}
	a, b := newSpool(t, dir, c, SpoolOptions{}), newSpool(t, dir, c, SpoolOptions{})
	unlock, ok := a.dir.lock()
	if !ok {
		t.Fatal("no lock")
	}
	if err := b.Notify(t.Context(), Message{Subject: "x"}); err != nil {
		t.Fatal(err)
	}
	if c.subjects() != "" || b.Stats().Waiting != 1 {
		t.Fatal("b delivered while a held the lock")
	}
	unlock()
	if a.Flush(t.Context()) != 0 || c.subjects() != "x" {
		t.Errorf("got %q", c.subjects())
	}
}

// Stopping in the middle of an attempt costs the message none of its attempts.
func TestSpoolStopDuringAttempt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	s := newSpool(t, t.TempDir(), Func(func(ctx context.Context, _ Message) error {
		attempts++
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}), SpoolOptions{})
	if err := s.Notify(ctx, Message{Subject: "x"}); err != nil {
		t.Fatal(err)
	}
	if attempts != 1 {
		t.Errorf("%d attempts", attempts)
	}
	entry, err := s.dir.read(s.dir.list()[0])
	if err != nil || entry.Attempts != 0 {
		t.Errorf("%+v, %v", entry, err)
	}
}

func TestNewSpoolErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() (*Spool, error){
		"no notifier":  func() (*Spool, error) { return NewSpool(t.TempDir(), nil, nil) },
		"not a folder": func() (*Spool, error) { return NewSpool(file, &channel{}, nil) },
		"negative delay": func() (*Spool, error) {
			return NewSpool(t.TempDir(), &channel{}, &SpoolOptions{Delays: []time.Duration{-1}})
		},
		"negative limit": func() (*Spool, error) { return NewSpool(t.TempDir(), &channel{}, &SpoolOptions{MaxMessages: -1}) },
	} {
		if _, err := make(); err == nil || !strings.HasPrefix(err.Error(), "notify: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A clock that was ahead when a message was stored delays no message, and changes no order.
func TestSpoolClockAhead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	down := newSpool(t, dir, Func(func(context.Context, Message) error { return errors.New("down") }), SpoolOptions{})
	for _, text := range []string{"ALARM", "WORSE"} {
		if err := down.Notify(t.Context(), Message{Subject: text, Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range down.dir.list() {
		entry, err := down.dir.read(name)
		if err != nil {
			t.Fatal(err)
		}
		entry.Due = time.Now().Add(2 * 365 * 24 * time.Hour)
		ahead := fmt.Sprintf("%0*d%s", spoolDigits, entry.Due.UnixNano()+int64(i), name[spoolDigits:])
		if err := errors.Join(down.dir.write(ahead, entry), down.dir.remove(name)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	s := newSpool(t, dir, Func(func(_ context.Context, m Message) error { got = append(got, m.Subject); return nil }), SpoolOptions{})
	if err := s.Notify(t.Context(), Message{Subject: "RECOVERED", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if n := s.Flush(t.Context()); n != 0 || strings.Join(got, " ") != "ALARM WORSE RECOVERED" {
		t.Errorf("%q, %d still wait", got, n)
	}
}
