package notify_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mainstay-go/mainstay/notify"
)

var quiet = slog.New(slog.DiscardHandler)

func newSpool(t testing.TB, dir string, next notify.Notifier, opts notify.SpoolOptions) *notify.Spool {
	t.Helper()
	opts.Logger = quiet
	s, err := notify.NewSpool(dir, next, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A server that is away for a while costs no message, also across a restart.
func TestSpoolBeforeMailServer(t *testing.T) {
	t.Parallel()
	busy := &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "come back later"}
	s := newSMTPServer(t, func(s *smtpServer) { s.refuse["oncall@example.org"] = busy })
	dir := t.TempDir()
	first := newSpool(t, dir, mustEmail(t, s.addr, nil), notify.SpoolOptions{Delays: []time.Duration{time.Nanosecond}})
	if err := first.Notify(t.Context(), notify.Message{Subject: "fridge is warm", Key: "7"}); err != nil {
		t.Fatal(err)
	}
	if st := first.Stats(); st != (notify.SpoolStats{Waiting: 1, Failed: 1}) || len(s.got()) != 0 {
		t.Fatalf("%+v, mails %v", st, s.got())
	}
	s.mu.Lock()
	clear(s.refuse)
	s.mu.Unlock()
	second := newSpool(t, dir, mustEmail(t, s.addr, nil), notify.SpoolOptions{})
	if left := second.Flush(t.Context()); left != 0 || len(s.got()) != 1 || s.got()[0].parse(t).Header.Get("Subject") != "fridge is warm" {
		t.Errorf("%d left, mails %v", left, s.got())
	}
}
