package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mainstay-go/mainstay/notify"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func mustEmail(t testing.TB, addr string, opts *notify.EmailOptions, to ...string) *notify.Email {
	t.Helper()
	if len(to) == 0 {
		to = []string{"On Call <oncall@example.org>"}
	}
	e, err := notify.NewEmail(addr, "POS <pos@example.org>", to, opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEmailDelivers(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, nil)
	e := mustEmail(t, s.addr, nil, "a@example.org", "b@example.org")
	m := notify.Message{
		Subject: "Kühlung fällt aus", Text: "fridge: 14 °C", HTML: "<p>fridge: 14 °C</p>", Level: notify.Critical,
		Source: "pos-1", Key: "incident-7", Time: noon, Fields: []notify.Field{{Name: "since", Value: "11:58"}}, Link: "https://pos.example.org/status/",
	}
	if err := e.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := s.got()
	if len(got) != 1 || got[0].from != "pos@example.org" || strings.Join(got[0].to, " ") != "a@example.org b@example.org" {
		t.Fatalf("got %+v", got)
	}
	mail := got[0].parse(t)
	subject, _ := new(mime.WordDecoder).DecodeHeader(mail.Header.Get("Subject"))
	if subject != m.Subject {
		t.Errorf("subject %q", subject)
	}
	for header, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All", "Importance": "high",
		"Date": "Mon, 23 Nov 2026 12:00:00 +0000",
	} {
		if v := mail.Header.Get(header); v != want {
			t.Errorf("%s: %q, want %q", header, v, want)
		}
	}
	if ct := mail.Header.Get("Content-Type"); !strings.HasPrefix(ct, "multipart/alternative") {
		t.Errorf("Content-Type: %q", ct)
	}
	for _, want := range []string{"fridge: 14 =C2=B0C", "since: 11:58", "https://pos.example.org/status/", "<p>fridge"} {
		if !strings.Contains(got[0].raw, want) {
			t.Errorf("the mail lacks %q:\n%s", want, got[0].raw)
		}
	}
}

func TestEmailThreads(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, nil)
	e := mustEmail(t, s.addr, nil)
	problem := notify.Message{Subject: "down", Source: "pos-1", Key: "incident-7", Time: noon}
	for _, m := range []notify.Message{
		problem,
		problem, // sent again
		{Subject: "up", Source: "pos-1", Key: "incident-7", Time: noon.Add(time.Hour), Level: notify.Recovery},
		{Subject: "down", Source: "pos-1", Key: "incident-8", Time: noon},
		{Subject: "hello", Source: "pos-1", Time: noon},
	} {
		if err := e.Notify(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var ids, threads []string
	for _, r := range s.got() {
		h := r.parse(t).Header
		ids, threads = append(ids, h.Get("Message-ID")), append(threads, h.Get("References"))
		if h.Get("In-Reply-To") != h.Get("References") {
			t.Errorf("In-Reply-To %q, References %q", h.Get("In-Reply-To"), h.Get("References"))
		}
	}
	if ids[0] != ids[1] || ids[0] == ids[2] || ids[0] == ids[3] || !strings.HasSuffix(ids[0], "@example.org>") {
		t.Errorf("message ids %q", ids)
	}
	if threads[0] == "" || threads[0] != threads[2] || threads[0] == threads[3] || threads[4] != "" {
		t.Errorf("threads %q", threads)
	}
}

// Nothing in a message can add a header, a recipient or a second mail.
func TestEmailHeaderInjection(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, nil)
	e := mustEmail(t, s.addr, nil)
	attack := "x\r\nBcc: victim@example.org\nX-Evil: 1\r\n\r\nbody\r\n.\r\nMAIL FROM:<evil@example.org>\r\n\x00\u2028"
	err := e.Notify(t.Context(), notify.Message{
		Subject: attack, Text: attack, Source: attack, Key: attack, Link: attack,
		Fields: []notify.Field{{Name: attack, Value: attack}}, Time: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.got()
	if len(got) != 1 || len(got[0].to) != 1 {
		t.Fatalf("got %+v", got)
	}
	h := got[0].parse(t).Header
	for _, name := range []string{"Bcc", "X-Evil", "Mail From"} {
		if h.Get(name) != "" {
			t.Errorf("injected header %s: %q", name, h.Get(name))
		}
	}
}

func TestEmailSTARTTLSAndLogin(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, func(s *smtpServer) { s.withTLS(t) })
	e := mustEmail(t, s.addr, &notify.EmailOptions{TLS: notify.TLSStartTLS, TLSConfig: s.trust(), Username: "pos", Password: "s3cret"})
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err != nil {
		t.Fatal(err)
	}
	if got := s.got(); len(got) != 1 || !got[0].tls || len(s.logins) != 1 {
		t.Fatalf("got %+v, logins %q", got, s.logins)
	}

	e = mustEmail(t, s.addr, &notify.EmailOptions{TLS: notify.TLSStartTLS, TLSConfig: s.trust(), Username: "pos", Password: "wr0ng-s3cret"})
	err := e.Notify(t.Context(), notify.Message{Subject: "hello"})
	if err == nil || !strings.Contains(err.Error(), "login") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong password gave %v", err)
	}
	// Without the certificate's root nothing is sent, and no password.
	e = mustEmail(t, s.addr, &notify.EmailOptions{TLS: notify.TLSStartTLS, Username: "pos", Password: "s3cret"})
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err == nil || len(s.got()) != 1 || len(s.logins) != 2 {
		t.Errorf("an unknown certificate gave %v", err)
	}
}

func TestEmailRefusesPlainServer(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, nil)
	e := mustEmail(t, s.addr, &notify.EmailOptions{TLS: notify.TLSStartTLS})
	err := e.Notify(t.Context(), notify.Message{Subject: "hello"})
	if err == nil || !strings.Contains(err.Error(), "STARTTLS") || len(s.got()) != 0 {
		t.Fatalf("got %v and %d mails", err, len(s.got()))
	}
}

func TestEmailImplicitTLS(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, func(s *smtpServer) { s.withTLS(t) })
	// Serve the same back-end behind a TLS listener.
	front := newTLSFront(t, s)
	e := mustEmail(t, front, &notify.EmailOptions{TLS: notify.TLSImplicit, TLSConfig: s.trust()})
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err != nil {
		t.Fatal(err)
	}
	if got := s.got(); len(got) != 1 || !got[0].tls {
		t.Fatalf("got %+v", got)
	}
}

func TestEmailRecipients(t *testing.T) {
	t.Parallel()
	gone := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	s := newSMTPServer(t, func(s *smtpServer) { s.refuse["gone@example.org"] = gone })
	var log bytes.Buffer
	opts := &notify.EmailOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	e := mustEmail(t, s.addr, opts, "gone@example.org", "here@example.org")
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err != nil {
		t.Fatalf("one bad recipient lost the mail for all: %v", err)
	}
	if got := s.got(); len(got) != 1 || strings.Join(got[0].to, " ") != "here@example.org" {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(log.String(), "gone@example.org") {
		t.Errorf("the refusal was not logged: %s", log.String())
	}
	e = mustEmail(t, s.addr, opts, "gone@example.org")
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err == nil || !strings.Contains(err.Error(), "550") {
		t.Fatalf("got %v", err)
	}
}

// A recipient that the server defers is told later; the others get one mail.
func TestEmailDeferredRecipient(t *testing.T) {
	t.Parallel()
	busy := &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "come back later"}
	gone := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	s := newSMTPServer(t, func(s *smtpServer) { s.refuse["busy@example.org"], s.refuse["gone@example.org"] = busy, gone })
	e := mustEmail(t, s.addr, &notify.EmailOptions{Logger: slog.New(slog.DiscardHandler)}, "here@example.org", "busy@example.org", "gone@example.org")
	m := notify.Message{Subject: "hello", Time: noon}
	for range 2 {
		if err := e.Notify(t.Context(), m); err == nil || !strings.Contains(err.Error(), "busy@example.org") {
			t.Fatalf("a deferred recipient was forgotten: %v", err)
		}
	}
	if got := s.got(); len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	s.mu.Lock()
	delete(s.refuse, "busy@example.org")
	s.mu.Unlock()
	if err := e.Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := s.got(); len(got) != 2 || strings.Join(got[1].to, " ") != "busy@example.org" {
		t.Errorf("%+v", got)
	}
	// The last one is refused for good in the meantime.
	s.mu.Lock()
	s.refuse["busy@example.org"] = busy
	s.mu.Unlock()
	m.Subject = "again"
	if err := e.Notify(t.Context(), m); err == nil {
		t.Error("a deferred recipient was forgotten")
	}
	s.mu.Lock()
	s.refuse["busy@example.org"] = gone
	s.mu.Unlock()
	if err := e.Notify(t.Context(), m); err != nil || len(s.got()) != 3 {
		t.Errorf("%v, %d mails", err, len(s.got()))
	}
}

// A thread has one Subject header. What changed is the first line of the body.
func TestEmailTopic(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, nil)
	e := mustEmail(t, s.addr, nil)
	for _, subject := range []string{"[UNHEALTHY] pos: db", "[RECOVERED] pos: db after 5 min"} {
		if err := e.Notify(t.Context(), notify.Message{Subject: subject, Topic: "pos: db", Text: "text", Source: "pos", Key: "7", Time: noon}); err != nil {
			t.Fatal(err)
		}
	}
	got := s.got()
	first, second := got[0].parse(t), got[1].parse(t)
	for _, name := range []string{"Subject", "References", "In-Reply-To"} {
		if first.Header.Get(name) != second.Header.Get(name) || first.Header.Get(name) == "" {
			t.Errorf("%s: %q and %q", name, first.Header.Get(name), second.Header.Get(name))
		}
	}
	if first.Header.Get("Message-Id") == second.Header.Get("Message-Id") {
		t.Error("two mails with one Message-ID")
	}
	body, err := io.ReadAll(second.Body)
	if err != nil || first.Header.Get("Subject") != "pos: db" || !strings.HasPrefix(string(body), "[RECOVERED] pos: db after 5 min\r\n\r\ntext") {
		t.Errorf("%q, %v", body, err)
	}
}

// Exchange Online and Gmail refuse passwords and take tokens.
func TestEmailOAuth(t *testing.T) {
	t.Parallel()
	s := newSMTPServer(t, func(s *smtpServer) { s.withTLS(t); s.password = "t0ken" })
	token, tokenErr := "t0ken", error(nil)
	e := mustEmail(t, s.addr, &notify.EmailOptions{
		Username: "pos@example.org", TLS: notify.TLSStartTLS, TLSConfig: s.trust(),
		Token: func(context.Context) (string, error) { return token, tokenErr },
	})
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err != nil {
		t.Fatal(err)
	}
	if len(s.got()) != 1 || !strings.HasPrefix(s.logins[0], "user=pos@example.org\x01auth=Bearer ") {
		t.Errorf("%q", s.logins)
	}
	for _, token = range []string{"old", "", "a\r\nb"} {
		if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err == nil || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	tokenErr = errors.New("the identity provider is down")
	if err := e.Notify(t.Context(), notify.Message{Subject: "hello"}); err == nil || !strings.Contains(err.Error(), "identity provider") {
		t.Errorf("%v", err)
	}
	if _, err := notify.NewEmail("mail.example.org", "pos@example.org", []string{"a@example.org"}, &notify.EmailOptions{Token: func(context.Context) (string, error) { return "", nil }}); err == nil {
		t.Error("a token without a user name was accepted")
	}
}

// Whatever the server does not do, the whole delivery ends with its deadline.
func TestEmailDeadline(t *testing.T) {
	t.Parallel()
	for name, behave := range map[string]func(net.Conn){
		"never greets": func(net.Conn) {},
		"greets in drops": func(c net.Conn) {
			for {
				if _, err := c.Write([]byte("220-still thinking\r\n")); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
		"greets and hangs": func(c net.Conn) { c.Write([]byte("220 hello\r\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := mustEmail(t, hostileServer(t, behave), &notify.EmailOptions{Timeout: 300 * time.Millisecond})
			start := time.Now()
			err := e.Notify(t.Context(), notify.Message{Subject: "hello"})
			if err == nil || !strings.Contains(err.Error(), "300ms") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("hangs on the content", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		s := newSMTPServer(t, func(s *smtpServer) {
			s.onData = func(r io.Reader) error { <-release; return nil }
		})
		t.Cleanup(func() { close(release) })
		e := mustEmail(t, s.addr, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := e.Notify(ctx, notify.Message{Subject: "hello"}); err == nil || ctx.Err() == nil {
			t.Errorf("got %v", err)
		}
	})
}

// Whatever a server refuses, at whatever point, is an error that names the point
// and the server's words, and not the password.
func TestEmailRefusals(t *testing.T) {
	t.Parallel()
	for says, answers := range map[string][]string{ // the last one is the refusal
		`greeting: 421 "too busy"`:                           {"421 too busy"},
		`greeting: 554 "you are on a list"`:                  {"554 you are on a list"},
		`greeting: 501 "who are you"`:                        {"220 hello", "501 who are you", "501 who are you"},
		`sender: 451 "try again later"`:                      {"220 hello", "250 ok", "451 try again later"},
		`recipients: oncall@example.org: 450 "mailbox busy"`: {"220 hello", "250 ok", "250 ok", "450 mailbox busy"},
		`content: 452 "out of space"`:                        {"220 hello", "250 ok", "250 ok", "250 ok", "452 out of space"},
		`content: 554 "this looks like spam"`:                {"220 hello", "250 ok", "250 ok", "250 ok", "354 go", "554 this looks like spam"},
		`content: 451 "the spool cannot be read"`:            {"220 hello", "250 ok", "250 ok", "250 ok", "354 go", "451 the spool cannot be read"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			addr := hostileServer(t, func(c net.Conn) {
				lines := bufio.NewScanner(c)
				inData := false
				for i, answer := range answers {
					for i > 0 && lines.Scan() && inData && lines.Text() != "." {
					}
					inData = strings.HasPrefix(answer, "354")
					fmt.Fprintf(c, "%s\r\n", answer)
				}
				for lines.Scan() { // it stays on the line, as servers do
				}
			})
			err := mustEmail(t, addr, &notify.EmailOptions{Timeout: 20 * time.Second}).Notify(t.Context(), notify.Message{Subject: "hello"})
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v", err)
			}
		})
	}
	// Not the address of a listener that was closed: the next one of any test may have it already.
	err := mustEmail(t, "127.0.0.1:1", nil).Notify(t.Context(), notify.Message{Subject: "hello"})
	if err == nil || !strings.Contains(err.Error(), "connecting: ") {
		t.Errorf("got %v", err)
	}
}

// A server that has taken the mail has taken it, however rudely it leaves.
func TestEmailServerNeverSaysGoodbye(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds; run it without -short")
	}
	t.Parallel()
	addr := hostileServer(t, func(c net.Conn) {
		lines := bufio.NewScanner(c)
		c.Write([]byte("220 hello\r\n"))
		for inData := false; lines.Scan(); {
			switch line := lines.Text(); {
			case inData && line != ".":
			case line == "DATA":
				inData = true
				c.Write([]byte("354 go\r\n"))
			case line == "QUIT": // silence
			default:
				inData = false
				c.Write([]byte("250 ok\r\n"))
			}
		}
	})
	if err := mustEmail(t, addr, &notify.EmailOptions{Timeout: 20 * time.Second}).Notify(t.Context(), notify.Message{Subject: "hello"}); err != nil {
		t.Error(err)
	}
}

func TestEmailConnectionLostMidMail(t *testing.T) {
	t.Parallel()
	addr := hostileServer(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		c.Write([]byte("220 hello\r\n"))
		for _, answer := range []string{"250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"} {
			if _, err := c.Read(buf); err != nil {
				return
			}
			c.Write([]byte(answer))
		}
		c.Read(buf)
		c.Close()
	})
	if err := mustEmail(t, addr, nil).Notify(t.Context(), notify.Message{Subject: "hello", Text: strings.Repeat("x", 60000)}); err == nil {
		t.Fatal("a mail that the server did not take counts as sent")
	}
}

func TestNewEmailErrors(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() (*notify.Email, error){
		"no recipient":  func() (*notify.Email, error) { return notify.NewEmail("h", "a@b.c", nil, nil) },
		"bad recipient": func() (*notify.Email, error) { return notify.NewEmail("h", "a@b.c", []string{"x"}, nil) },
		"two in one":    func() (*notify.Email, error) { return notify.NewEmail("h", "a@b.c", []string{"x@y.z, q@r.s"}, nil) },
		"bad sender":    func() (*notify.Email, error) { return notify.NewEmail("h", "", []string{"x@y.z"}, nil) },
		"injected sender": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c>\r\nRCPT TO:<x@y.z", []string{"x@y.z"}, nil)
		},
		"no host":  func() (*notify.Email, error) { return notify.NewEmail(":25", "a@b.c", []string{"x@y.z"}, nil) },
		"bad port": func() (*notify.Email, error) { return notify.NewEmail("h:0", "a@b.c", []string{"x@y.z"}, nil) },
		"negative timeout": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c", []string{"x@y.z"}, &notify.EmailOptions{Timeout: -1})
		},
		"unknown mode": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c", []string{"x@y.z"}, &notify.EmailOptions{TLS: 9})
		},
		"half a login": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c", []string{"x@y.z"}, &notify.EmailOptions{Username: "u"})
		},
		"password in the clear": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c", []string{"x@y.z"}, &notify.EmailOptions{Username: "u", Password: "p", TLS: notify.TLSNone})
		},
		"bad hello": func() (*notify.Email, error) {
			return notify.NewEmail("h", "a@b.c", []string{"x@y.z"}, &notify.EmailOptions{Hello: "a\r\nb"})
		},
	} {
		if _, err := make(); err == nil || !strings.HasPrefix(err.Error(), "notify: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An address with other letters than ASCII goes only to a server that accepts it. The other
// recipients get the mail in any case.
func TestEmailAddressesInOtherLetters(t *testing.T) {
	t.Parallel()
	for _, offered := range []bool{false, true} {
		s := newSMTPServer(t, func(s *smtpServer) { s.EnableSMTPUTF8 = offered })
		e := mustEmail(t, s.addr, nil, "Jürgen <jürgen@example.org>", "ops@example.org")
		if err := e.Notify(t.Context(), notify.Message{Subject: "s"}); err != nil {
			t.Fatal(err)
		}
		want := 1
		if offered {
			want = 2
		}
		if got := s.got(); len(got) != 1 || len(got[0].to) != want {
			t.Errorf("offered %v: %v", offered, got)
		}
		alone := mustEmail(t, s.addr, nil, "jürgen@example.org")
		if err := alone.Notify(t.Context(), notify.Message{Subject: "s"}); (err == nil) != offered {
			t.Errorf("offered %v: %v", offered, err)
		}
	}
	if _, err := notify.NewEmail("mail.example.org", "pos@example.org", []string{"ops@exämple.org"}, nil); err == nil || !strings.Contains(err.Error(), "xn--") {
		t.Errorf("%v", err)
	}
}

// A server that takes only small mails gets the beginning of the message as plain text, and
// the alert is not lost.
func TestEmailTooLarge(t *testing.T) {
	t.Parallel()
	m := notify.Message{
		Subject: "database fails", Text: "first line\n" + strings.Repeat("a line of the text: ä\n", 2000), HTML: "<p>" + strings.Repeat("<b>cell</b>\n", 10000) + "</p>",
		Key: "k", Source: "pos", Time: noon, Link: "https://pos.example.org/status/",
	}
	for i := range 50 {
		m.Fields = append(m.Fields, notify.Field{Name: fmt.Sprint("field ", i), Value: strings.Repeat("v", 1000)})
	}
	const limit = 40 << 10
	var tries atomic.Int64
	reject := func(answer error, limit int) func(*smtpServer) {
		return func(s *smtpServer) {
			s.MaxMessageBytes = 0
			s.onContent = func(b []byte) error {
				if tries.Add(1); len(b) > limit {
					return answer
				}
				return nil
			}
		}
	}
	for name, configure := range map[string]func(*smtpServer){
		"announced": func(s *smtpServer) { s.MaxMessageBytes = limit },
		"552":       reject(&smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "too large"}, limit),
		"554 5.3.4": reject(&smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 3, 4}, Message: "message too big for system"}, limit),
		"550 5.2.3": reject(&smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 2, 3}, Message: "limit of the recipient"}, limit),
		"closes":    func(s *smtpServer) { s.closeAfter = limit },
	} {
		s := newSMTPServer(t, configure)
		quiet := slog.New(slog.DiscardHandler)
		if err := mustEmail(t, s.addr, &notify.EmailOptions{Logger: quiet}, "a@example.org", "b@example.org").Notify(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := s.got()
		if len(got) != 1 || len(got[0].to) != 2 || len(got[0].raw) > 32<<10 {
			t.Errorf("%s: got %d mails", name, len(got))
			continue
		}
		mail := got[0].parse(t)
		body, err := io.ReadAll(quotedprintable.NewReader(mail.Body))
		if err != nil || !strings.HasPrefix(mail.Header.Get("Content-Type"), "text/plain") || strings.Contains(string(body), "<b>") {
			t.Errorf("%s: %v %v", name, err, mail.Header)
		}
		for _, want := range []string{"first line", "field 0: vvv", "https://pos.example.org/status/", "too large"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s: %q is missing", name, want)
			}
		}
		if s := mail.Header.Get("Subject"); s != m.Subject || mail.Header.Get("References") == "" {
			t.Errorf("%s: %v", name, mail.Header)
		}
	}

	tries.Store(0)
	s := newSMTPServer(t, reject(&smtp.SMTPError{Code: 552, EnhancedCode: smtp.EnhancedCode{5, 2, 2}, Message: "mailbox full"}, 0))
	if err := mustEmail(t, s.addr, nil).Notify(t.Context(), m); err == nil || !strings.Contains(err.Error(), "552") || tries.Load() != 2 {
		t.Errorf("%d tries: %v", tries.Load(), err)
	}
}

// A server that defers a mail after its content has not accepted it, not even for the
// recipients that it accepted before.
func TestEmailDeferredAfterData(t *testing.T) {
	t.Parallel()
	busy := true
	s := newSMTPServer(t, func(s *smtpServer) {
		s.refuse["later@example.org"] = &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "greylisted"}
		s.onContent = func([]byte) error {
			if busy {
				return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again"}
			}
			return nil
		}
	})
	e := mustEmail(t, s.addr, nil, "a@example.org", "later@example.org")
	m := notify.Message{Subject: "hello", Time: noon}
	if err := e.Notify(t.Context(), m); err == nil || !strings.Contains(err.Error(), "content: 451") {
		t.Errorf("got %v", err)
	}
	busy = false
	if err := e.Notify(t.Context(), m); err == nil || !strings.Contains(err.Error(), "greylisted") {
		t.Errorf("got %v", err)
	}
	delete(s.refuse, "later@example.org")
	if err := e.Notify(t.Context(), m); err != nil {
		t.Error(err)
	}
	var to []string
	for _, r := range s.got() {
		to = append(to, r.to...)
	}
	if strings.Join(to, " ") != "a@example.org later@example.org" {
		t.Errorf("delivered to %v", to)
	}
}
