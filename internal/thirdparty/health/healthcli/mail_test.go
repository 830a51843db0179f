package healthcli_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/healthcli"
	"github.com/mainstay-go/mainstay/notify"
)

// The whole way: checks, alerts, and a mail on a real SMTP server that refuses at
// first.
func TestMailEndToEnd(t *testing.T) {
	t.Parallel()
	backend := &mailbox{refuse: true}
	server := smtp.NewServer(backend)
	server.Domain, server.ErrorLog = "mail.test", slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })

	var errs bytes.Buffer
	command := healthcli.Command{
		Name: "pos health", Stdout: io.Discard, Stderr: &errs,
		Registry: func(context.Context) (*health.Registry, error) {
			return health.New([]health.Check{{
				Name: "database", Timeout: time.Second, Critical: true,
				Checker: health.CheckerFunc(func(context.Context) health.Result { return health.Failed("database says fail", nil) }),
			}}, &health.Options{Service: "pos", Logger: slog.New(slog.DiscardHandler)})
		},
		Notifier: func() (notify.Notifier, error) {
			return notify.NewEmailFromURL("smtp://"+listener.Addr().String()+"?from=pos@example.org&to=oncall@example.org", nil)
		},
		Alert: alert.Options{
			Store: alert.File(filepath.Join(t.TempDir(), "alerts.json")), Retries: []time.Duration{time.Millisecond},
			GroupInterval: time.Nanosecond, Logger: slog.New(slog.DiscardHandler),
		},
	}
	run := func() (int, string) {
		errs.Reset()
		return command.Run(t.Context(), []string{"--notify", "--retry-wait", "1ms"}), errs.String()
	}
	if code, text := run(); code != healthcli.NoResult || !strings.Contains(text, "not today") {
		t.Fatalf("a server that refuses: code %d, %s", code, text)
	}
	backend.set(false)
	time.Sleep(10 * time.Millisecond) // longer than the longest pause of Retries
	if code, text := run(); code != healthcli.Fail {
		t.Fatalf("code %d, %s", code, text)
	}
	backend.mu.Lock()
	defer backend.mu.Unlock()
	if len(backend.mails) != 1 || !strings.Contains(backend.mails[0], "Subject: pos: database") || !strings.Contains(backend.mails[0], "[UNHEALTHY] pos: database") ||
		!strings.Contains(backend.mails[0], "database says fail") || !strings.Contains(backend.mails[0], "References: <") {
		t.Errorf("mails: %s", backend.mails)
	}
}

type mailbox struct {
	mu     sync.Mutex
	refuse bool
	mails  []string
}

func (b *mailbox) set(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return b, nil }
func (b *mailbox) Reset()                                      {}
func (b *mailbox) Logout() error                               { return nil }
func (b *mailbox) Rcpt(string, *smtp.RcptOptions) error        { return nil }

func (b *mailbox) Mail(string, *smtp.MailOptions) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse {
		return &smtp.SMTPError{Code: 451, Message: "not today"}
	}
	return nil
}

func (b *mailbox) Data(r io.Reader) error {
	mail, err := io.ReadAll(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, string(mail))
	return err
}
