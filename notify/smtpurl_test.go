package notify

import (
	"strings"
	"testing"
)

func TestNewEmailFromURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url, addr, user, password string
		tls                       TLSMode
		recipients                int
	}{
		{"smtp://user:p%40ss@mail.example.org:2525?from=a@b.c&to=c@d.e&to=f@g.h", "mail.example.org:2525", "user", "p@ss", TLSStartTLS, 2},
		{"smtp://mail.example.org?from=a@b.c&to=c@d.e", "mail.example.org:587", "", "", TLSStartTLS, 1},
		{"smtps://mail.example.org?from=a@b.c&to=c@d.e", "mail.example.org:465", "", "", TLSImplicit, 1},
		{"smtp://mail.example.org:465/?from=a@b.c&to=c@d.e", "mail.example.org:465", "", "", TLSImplicit, 1},
		{"smtp://mailpit:1025?from=a@b.c&to=c@d.e&tls=none", "mailpit:1025", "", "", TLSNone, 1},
		{"smtp://127.0.0.1:1025?from=a@b.c&to=c@d.e", "127.0.0.1:1025", "", "", TLSNone, 1},
		{"smtp://u:p@[::1]?from=a@b.c&to=c@d.e", "[::1]:25", "u", "p", TLSNone, 1},
		{"smtp://localhost:25?from=a@b.c&to=c@d.e&tls=starttls", "localhost:25", "", "", TLSStartTLS, 1},
	} {
		e, err := NewEmailFromURL(c.url, nil)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if e.addr != c.addr || e.opts.Username != c.user || e.opts.Password != c.password || e.opts.TLS != c.tls || len(e.to) != c.recipients {
			t.Errorf("%s gave %s, user %q, password %q, TLS %d, %d recipients", c.url, e.addr, e.opts.Username, e.opts.Password, e.opts.TLS, len(e.to))
		}
	}
}

func TestNewEmailFromURLErrors(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "mail.example.org", "http://h?from=a@b.c&to=c@d.e", "smtp://?from=a@b.c&to=c@d.e",
		"smtp://u:hunter2@h:99999?from=a@b.c&to=c@d.e", "smtp://u:hunter2@h:x?from=a@b.c&to=c@d.e",
		"smtp://u:hunter2%zz@h?from=a@b.c&to=c@d.e", "smtp://u:hunter2@h?from=a@b.c", "smtp://u:hunter2@h?to=a@b.c",
		"smtp://u:hunter2@h?from=a@b.c&from=a@b.c&to=c@d.e", "smtp://u:hunter2@h?from=a@b.c&to=c@d.e&tls=maybe",
		"smtp://u:hunter2@h?from=a@b.c&to=c@d.e&tls=none", "smtps://u:hunter2@h?from=a@b.c&to=c@d.e&tls=starttls",
		"smtp://u:hunter2@h?from=a@b.c&to=c@d.e&port=25", "smtp://u:hunter2@h/x?from=a@b.c&to=c@d.e",
		"smtp://u:hunter2@h?from=a@b.c&to=c@d.e;x", "smtp:u:hunter2@h?from=a@b.c&to=c@d.e",
	} {
		_, err := NewEmailFromURL(bad, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "notify: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzNewEmailFromURL(f *testing.F) {
	f.Add("smtp://user:pw@host:587?from=a@b.c&to=c@d.e&tls=none")
	f.Add("smtps://[::1%25eth0]:465?from=a@b.c&to=c@d.e")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := NewEmailFromURL(s, nil)
		if (e == nil) == (err == nil) {
			t.Fatalf("%v and %v", e, err)
		}
		if err == nil && (e.addr == "" || len(e.to) == 0 || strings.ContainsAny(e.addr+e.opts.Hello, "\r\n ")) {
			t.Fatalf("%+v", e)
		}
	})
}
