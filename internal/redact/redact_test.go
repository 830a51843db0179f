package redact

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func lines(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	require.NoError(t, err)
	defer f.Close()
	var all []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "# ") {
			all = append(all, strings.ReplaceAll(strings.ReplaceAll(line, `\\n`, "\x00"), `\n`, "\n"))
			all[len(all)-1] = strings.ReplaceAll(all[len(all)-1], "\x00", `\n`)
		}
	}
	return all
}

// secrets are the values in the forms: random characters, a short one, one with signs, one of
// small letters and digits, and one that is a word.
var secrets = []string{"S3cr3tHunter2Value", "hunter2", "Tr0ub4dor&3", "x9kq2mz7w1", word}

const word = "sunflowers"

func TestSecretsByPlaceAndForm(t *testing.T) {
	forms := lines(t, "secrets.txt")
	t.Logf("%d forms", len(forms))
	require.GreaterOrEqual(t, len(forms), 200)
	for _, secret := range secrets {
		for _, form := range forms {
			if secret != secrets[0] && needsLength(form) || secret == word && needsDigits(form) {
				continue
			}
			text := strings.ReplaceAll(form, "{S}", secret)
			if got := new(Redactor).Text(text, 0); strings.Contains(got, secret) {
				t.Errorf("passes: %s\n     -> %s", text, got)
			}
		}
	}
}

// needsLength reports whether only a long, random value is a secret in this form. Otherwise a
// path segment or the text after a prefix may be a word.
func needsLength(form string) bool {
	for _, mark := range []string{"glpat-", "ghp_", "xoxb-", "sk_live", "sk-ant", "hvs.", "npm_", "AIza", "SG.", "dop_v1", "shpat_", "AGE-", "eyJ", "github_pat", "-> Bearer", "oracle:thin"} {
		if strings.HasPrefix(form, mark) || mark == "oracle:thin" && strings.Contains(form, mark) {
			return true
		}
	}
	return false
}

// needsDigits reports whether a word of letters in this form may also be prose or the name of an
// object.
func needsDigits(form string) bool {
	for _, mark := range []string{
		"invalid input syntax for type", "Duplicate entry", "CONFIG SET", "MIGRATE", `string{"Basic`,
		"API key provided", "too weak", "secret key {S}", "/ password {S}", "kinit: password for", "SNMP community",
	} {
		if strings.Contains(form, mark) {
			return true
		}
	}
	return false
}

func TestHarmlessTextsStay(t *testing.T) {
	texts := lines(t, "harmless.txt")
	t.Logf("%d texts", len(texts))
	require.GreaterOrEqual(t, len(texts), 200)
	for _, text := range texts {
		if got := new(Redactor).Text(text, 0); got != strings.ReplaceAll(text, "\n", " ") {
			t.Errorf("changed: %s\n     -> %s", text, got)
		}
	}
}

// TestCausesOfErrorsStay reads chains of errors. The word after "token: " is then the beginning of
// the cause and not a secret.
func TestCausesOfErrorsStay(t *testing.T) {
	changed := 0
	for _, head := range lines(t, "heads.txt") {
		for _, cause := range lines(t, "causes.txt") {
			text := head + ": " + cause
			if got := new(Redactor).Text(text, 0); got != text {
				if changed++; changed < 20 {
					t.Errorf("changed: %s\n     -> %s", text, got)
				}
			}
		}
	}
}

// encodings are the changes that programs make to a text before they show it.
var encodings = map[string]func(string) string{
	"plain":         func(s string) string { return s },
	"upper":         strings.ToUpper,
	"quoted":        strconv.Quote,
	"quoted ASCII":  strconv.QuoteToASCII,
	"quoted twice":  func(s string) string { return strconv.Quote(strconv.Quote(s)) },
	"three times":   func(s string) string { return strconv.Quote(strconv.Quote(strconv.Quote(s))) },
	"json":          func(s string) string { b, _ := json.Marshal(map[string]string{"x": s}); return string(b) },
	"query":         url.QueryEscape,
	"path":          url.PathEscape,
	"query twice":   func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"userinfo":      func(s string) string { return url.UserPassword("u", s).String() },
	"html":          html.EscapeString,
	"html numbers":  func(s string) string { return runes(s, "&#x%x;") },
	"base64":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 url":    func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 inside": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s + "\n")) },
	"base64 twice": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte("ab" + s))))
	},
	"base64 piece": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00\x01\xff" + s + "\xfe"))[1:]
	},
	"hex":          func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hex upper":    func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"%v of bytes":  func(s string) string { return fmt.Sprint([]byte(s)) }, //nolint:staticcheck // as a log writes them
	"%#v of bytes": func(s string) string { return fmt.Sprintf("%#v", []byte(s)) },
	"%v of struct": func(s string) string { return fmt.Sprintf("%+v", struct{ A, B string }{"x", s}) },
	"percent all":  func(s string) string { return escaped([]byte(s), "%%%02X") },
	"backslash x":  func(s string) string { return escaped([]byte(s), `\x%02x`) },
	"unicode":      func(s string) string { return runes(s, `\u%04x`) },
	"octal":        func(s string) string { return escaped([]byte(s), `\%03o`) },
	"quoted-print": func(s string) string { return escaped([]byte(s), "=%02X") },
	"zero width":   func(s string) string { return s[:2] + "\u200b" + s[2:] },
}

func TestToldSecretsInEveryEncoding(t *testing.T) {
	for _, secret := range []string{"correct horse", "grandmother", `p"a\s's<w>&%2=`, "пароль-1", "two\nlines of it", "aaaa", "%41%42%43x"} {
		r := New(secret, "")
		for name, encode := range encodings {
			shown := encode(secret)
			for _, form := range []string{"%s", "dial db: %s: refused", "a=%s&b", "x%sy"} {
				if strings.HasPrefix(name, "base64") && form == "x%sy" {
					continue // the decoders cannot read this text
				}
				got := r.Text(fmt.Sprintf(form, shown), 0)
				for decoded := range decodings(got) {
					if strings.Contains(strings.ToLower(decoded), strings.ToLower(secret)) || strings.Contains(got, shown) {
						t.Errorf("%q as %s in %q -> %s", secret, name, form, got)
						break
					}
				}
			}
		}
	}
}

func runes(s, format string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// decodings returns all decoded forms of a text.
func decodings(text string) map[string]bool {
	all := map[string]bool{text: true}
	l := &layer{text: text}
	for range 4 {
		if l = l.decode(); l == nil {
			break
		}
		all[l.text] = true
	}
	return all
}

func TestBounds(t *testing.T) {
	r := New("grandmother")
	require.Equal(t, strings.Repeat("a", 100)+"…", r.Text(strings.Repeat("a", 5000), 100), "one long word keeps its beginning")
	require.Equal(t, "äö…", r.Text("äöü", 5))
	require.Equal(t, "a b c", r.Text("a\nb\x1bc", 0))
	require.Equal(t, "a", r.Text("\u202ea\u2066", 0))
	long := strings.Repeat("password=grandmother ", 1000)
	require.NotContains(t, r.Text(long, 0), "grand")
	for cut := range 12 { // half of a secret at the end of the text
		text := strings.Repeat("x ", maxInput/2-6) + strings.Repeat("y", cut) + "grandmother and more"
		require.NotContains(t, r.Text(text, 0), "gran", cut)
	}
	require.Equal(t, "x***y", r.Text("xgrandmothery", 0))
}

// TestHostileTexts repeats pieces whose search read the text to its end each time: 64 KiB of "@"
// took more than a minute.
func TestHostileTexts(t *testing.T) {
	r := New("grandmother")
	for _, piece := range []string{
		"@", "a@", "a/b@", "a:b@", "://", "://a:", "http://a/b?c=d&", "password=", "password: ", "password'", "token:", "token: ", "key|", "|key", "AUTH ",
		" AUTH", "use ", "net use ", "login@", "user:", "eyJ.", "secret is ", "args: [", "connect(", "auth(\"", "htpasswd -b ", "Authorization: ", "Cookie=", "parsing \"",
		"密码*", "%3D", "&amp;", "\\\\", "<password>", "-----BEGIN ", "echo ", "A1b2C3d4E5f6G7/",
	} {
		text := strings.Repeat(piece, maxLines/len(piece))
		start := time.Now()
		r.Lines(text)
		r.Text(text, 0)
		t.Logf("%q %v", piece, time.Since(start))
		require.Less(t, time.Since(start), 10*time.Second, "%q", piece)
	}
}

// TestLongSecrets has secrets behind long arguments, and a secret inside many others. The limits
// for hostile texts must not show them.
func TestLongSecrets(t *testing.T) {
	long := strings.Repeat("correct horse ", 60) // no token
	for _, text := range []string{
		"run: echo '" + long + "battery' | docker login --password-stdin: denied",
		`connect("` + long + `", "pos", "staple battery")`,
		`auth("` + long + `", "staple battery")`,
		"sqlplus pos/" + strings.Repeat("battery", 100) + "@orcl: failed",
		"dial pos/" + strings.Repeat("Battery1x", 60) + "@//db:1521: refused",
		`<setting ` + strings.Repeat("a='b' ", 60) + `name="Password"><value>battery</value></setting>`,
		strings.Repeat("token=", 17) + "password: staple battery",
	} {
		require.NotContains(t, strings.ToLower(New().Text(text, 0)), "battery")
	}
}

func TestErrorsAreTakenApart(t *testing.T) {
	const secret = "hunter2x"
	inner := &url.Error{Op: "Get", URL: "https://maps.example.com/v1/" + secret + "/q?page=" + secret, Err: &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}}
	_, atoi := strconv.Atoi(secret)
	_, parsed := time.Parse(time.DateOnly, secret)
	_, escape := url.Parse("http://h/%" + secret)    //nolint:staticcheck // invalid on purpose
	_, host := url.Parse("http://" + secret + " x/") //nolint:staticcheck // invalid on purpose
	for want, err := range map[string]error{
		`Get "https://maps.example.com": dial tcp: refused`:            inner,
		`no answer: Get "https://maps.example.com": dial tcp: refused`: fmt.Errorf("no answer: %w", inner),
		"refused again": fmt.Errorf("refused again"),
		`strconv.Atoi: parsing "***": invalid syntax`: atoi,
		"EOF": io.EOF,
		"":    nil,
	} {
		require.Equal(t, want, new(Redactor).Error(err, 0))
	}
	for _, err := range []error{parsed, escape, host, errors.Join(inner, atoi), &net.DNSError{Err: "no such host", Name: secret + "@db"}} {
		require.NotContains(t, new(Redactor).Error(err, 0), secret, err.Error())
	}
}

func FuzzToldSecret(f *testing.F) {
	for _, form := range lines(f, "secrets.txt")[:60] {
		f.Add(form, "grandmother")
	}
	f.Add(`{S}`, `p"a\s's`)
	f.Fuzz(func(t *testing.T, form, secret string) {
		if len(secret) < 4 || strings.Trim(secret, "*. \t\r\n…") != secret || strings.Contains(Hidden+"…", secret) || len(form) > 4000 {
			return
		}
		r := New(secret)
		for name, encode := range encodings {
			if len(secret) < 8 && strings.HasPrefix(name, "base64") {
				continue
			}
			got := r.Text(strings.ReplaceAll(form, "{S}", " "+encode(secret)+" "), 1000)
			for decoded := range decodings(got) {
				if strings.Contains(decoded, secret) {
					t.Fatalf("%s: %q shows %q", name, got, secret)
				}
			}
		}
	})
}

func BenchmarkText(b *testing.B) {
	r := New("grandmother", "another secret")
	for name, text := range map[string]string{
		"short": "dial tcp 10.0.0.7:5432: connect: connection refused",
		"url":   `Get "https://maps.example.com/api?key=S3cr3tHunter2Value": dial tcp: lookup maps.example.com: no such host`,
		"long":  strings.Repeat("the quick brown fox jumps over the lazy dog. ", 22),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Text(text, 1000)
			}
		})
	}
}
