package health

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScrubber(t *testing.T) {
	s := newScrubber([]string{"", "hunter2", "hunter2-longer", "p@ss w/rd"})
	for in, want := range map[string]string{
		"dial postgres://pos:S3cr3t@db:5432/pos: refused":                       "dial postgres://***@db:5432/pos: refused",
		"redis://:S3cr3t@cache/0":                                               "redis://***@cache/0",
		"amqp://a:S3c@r3t@host/x":                                               "amqp://***@host/x",
		"https://S3cr3ttoken@example.org/":                                      "https://***@example.org/",
		"pos:S3cr3t@tcp(db:3306)/pos":                                           "***@tcp(db:3306)/pos",
		"pos:S3cr3t@/pos?parseTime=true":                                        "***@/pos?parseTime=true",
		"dial pos:S3c/r3t@db.example:5432: refused":                             "dial ***@db.example:5432: refused",
		"postgres://pos:S3c/r?3#t@db/pos: refused":                              "postgres://***@db/pos: refused",
		`parse "postgres://pos:S3c/r3t@db/pos": invalid port ":S3c" after host`: `parse "postgres://***@db/pos": invalid port "***" after host`,
		"Cookie: session=S3cr3t; theme=dark":                                    "Cookie: ***",
		`Set-Cookie: sid=S3cr3t; HttpOnly`:                                      `Set-Cookie: ***`,
		`cut off: password="S3cr3t and no`:                                      `cut off: password="***`,
		"PGPASS=S3cr3t psql":                                                    "PGPASS=*** psql",
		"pass: S3cr3t":                                                          "pass: ***",
		"https://example.org/?X-Amz-Credential=S3cr3t&X-Amz-Signature=S3cr3t":   "https://example.org/?X-Amz-Credential=***&X-Amz-Signature=***",
		"Proxy-Authorization: Basic dXNlcjpTM2NyM3Q=":                           "Proxy-Authorization: ***",
		"bypass=3 of 5, compass: north":                                         "bypass=3 of 5, compass: north",
		"RCPT TO:<a@example.org>: 550 no such user":                             "RCPT TO:<a@example.org>: 550 no such user",
		"mail to a@example.org at 10:42: refused":                               "mail to a@example.org at 10:42: refused",
		"dsn=\"pos:S3c:r3t@unix(/run/m.sock)/x\"":                               "dsn=\"***@unix(/run/m.sock)/x\"",
		"host=db user=pos password=S3cr3t dbname=x":                             "host=db user=pos password=*** dbname=x",
		"PASSWORD: 'S3cr3t and more'":                                           "PASSWORD: '***'",
		`{"api_key": "S3cr3t", "n": 1}`:                                         `{"api_key": "***", "n": 1}`,
		"GET /x?access_token=S3cr3t&y=1":                                        "GET /x?access_token=***&y=1",
		"Authorization: Bearer S3cr3t":                                          "Authorization: ***",
		"header Bearer S3cr3tS3cr3t failed":                                     "header Bearer *** failed",
		"Authorization: Basic dXNlcjpTM2NyM3Q=":                                 "Authorization: ***",
		"ghp_S3cr3tS3cr3tS3cr3tS3cr3t is wrong":                                 "*** is wrong",
		"key AKIAS3CR3TS3CR3TS3CR":                                              "key ***",
		"wrong hunter2":                                                         "wrong ***",
		"wrong hunter2-longer":                                                  "wrong ***",
		"url p%40ss+w%2Frd":                                                     "url ***",
		"-----BEGIN PRIVATE KEY-----\nS3cr3t\nand no end":                       "***",
		"dial tcp 10.0.0.5:3306: connect: connection refused":                   "dial tcp 10.0.0.5:3306: connect: connection refused",
		"context deadline exceeded":                                             "context deadline exceeded",
		"83.2 % used, full in about 30 h":                                       "83.2 % used, full in about 30 h",
		"see https://example.org/a@b":                                           "see https://example.org/a@b",
		"first\nX-Injected: yes\r\n\x1b[31mred\u2028next\u0085":                 "first X-Injected: yes   [31mred next ",
	} {
		if got := s.text(in); got != want {
			t.Errorf("%s\n -> %s\n    %s", in, got, want)
		}
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add("dial ", "tcp", 10)
	f.Add("ä\xff\n", "://:@", 2000)
	f.Fuzz(func(t *testing.T, before, after string, pad int) {
		pad = min(max(pad, 0), 20_000)
		s := newScrubber([]string{"S3cr3t-0815"})
		for _, secret := range []string{"S3cr3t-0815", "postgres://u:S3cr3t-4711@h", "password=S3cr3t-4711"} {
			text := s.text(strings.Repeat("x ", pad) + before + " " + secret + " " + after)
			if strings.Contains(text, "S3cr3t") {
				t.Fatalf("%q shows the secret", text)
			}
			if !utf8.ValidString(text) || len(text) > maxText+len("…") || strings.ContainsAny(text, "\r\n\x1b") {
				t.Fatalf("%q is not one short line", text)
			}
		}
	})
}
