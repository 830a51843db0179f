package notify

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func FuzzEmailHeaders(f *testing.F) {
	f.Add("down\r\nBcc: a@b.c", "key\n\n.", "src\r")
	f.Add("=?utf-8?q?=0D=0ABcc:_a=40b.c?=", "\x00", "\xff\xfe")
	f.Add(strings.Repeat("ü", 500), strings.Repeat("k", 5000), "\u2028\u2029")
	e, err := NewEmail("mail.example.org", "pos@example.org", []string{"a@example.org"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{
		"Date": true, "Mime-Version": true, "Message-Id": true, "Subject": true, "From": true, "To": true,
		"In-Reply-To": true, "References": true, "Auto-Submitted": true, "X-Auto-Response-Suppress": true,
		"Content-Type": true, "Content-Transfer-Encoding": true,
	}
	f.Fuzz(func(t *testing.T, subject, key, source string) {
		m := Message{Subject: subject, Key: key, Source: source, Text: subject + key}.prepared(noon, forms)
		msg, err := e.compose(m, m.id())
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := msg.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		parsed, err := mail.ReadMessage(&b)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range parsed.Header {
			if !known[name] || len(values) != 1 {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}
