package loginguard_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

const (
	form  = "application/x-www-form-urlencoded"
	js    = "application/json"
	multi = "multipart/form-data; boundary=x"
)

// part is a part of a multipart form: the field username, unless another one is named.
func part(value, encoding string, name ...string) string {
	head := `form-data; name="` + strings.Join(append(name, "username")[:1], "") + `"`
	if encoding != "" {
		head += "\r\nContent-Transfer-Encoding: " + encoding
	}
	return "--x\r\nContent-Disposition: " + head + "\r\n\r\n" + value + "\r\n"
}

// differing are bodies in which one reader finds alice and another one finds another name, or none.
var differing = []struct{ contentType, body string }{
	{form, "username=alice&username=x&password=guess"},
	{form, "username=alice&password=guess&x=%zz"},
	{form, "username=alice&password=guess&x=" + strings.Repeat("x", 70_000)},
	{form, `{"username":"mallory"}&username=alice&password=guess`},
	{form, `{"x":"&username=alice&password=guess&y=","username":"mallory"}`},
	{multi, part("=61lice", "quoted-printable") + part("guess", "", "password") + "--x--\r\n"},
	{multi, part("=61lice", " QUOTED-printable ") + part("guess", "", "password") + "--x--"},
	{multi, part("alice", "") + part("guess", "", "password") + part("mallory", "") + "--x--\r\n"},
	{multi, `{"username":"alice","password":"guess"}` + "\r\n" + part("mallory", "") + "--x--"},
	{multi, "x=&username=alice&password=guess&x=\r\n" + part("mallory", "") + "--x--"},
	{js, `{"username":"mallory","Username":"alice","password":"guess"}`},
	{js, `{"username":"alice","password":"guess"}{"username":"mallory"}`},
	{"application/xml", "<a><Username>alice</Username><!--&username=mallory&--></a>"},
	{" Text/XML; charset", "<a><Username>alice</Username><!--&username=mallory&--></a>"},
	{"text/plain", " <a><Username>alice</Username><!--&username=mallory&--></a>"},
	{form, "\ufeff" + `{"username":"alice","password":"guess","x":"&username=mallory&"}`},
	{"application/x-yaml", "username: alice\nx: '&username=mallory&'"},
	{"application/xml+json", `{"username":"mallory","x":"<a><Username>alice</Username></a>"}`},
	{"text/plain", `{"username":"alice","password":"guess","x":"` + strings.Repeat("x", 70_000) + `"}`},
}

// Names are read from where a handler may read them, and where readers may differ nobody
// else pays.
func TestFields(t *testing.T) {
	t.Parallel()
	read := func(contentType, target, body string) string {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		got := loginguard.Field("username")(r)
		left, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, body, string(left))
		return got
	}
	for _, c := range []struct{ contentType, target, body, want string }{
		{form, "/", "username=alice&password=x", "alice"},
		{js, "/", `{"username":"alice"}`, "alice"},
		{form, "/", `{"username":"alice"}`, "alice"},
		{js, "/", "username=alice", "alice"},
		{"text/plain", "/", `{"Username":"alice"}`, "alice"},
		{js, "/", "\ufeff" + ` {"Username":"alice"}`, "alice"},
		{form, "/?username=alice", "", "alice"},
		{form, "/?USERNAME=alice", "Username=alice", "alice"},
		{"application/vnd.api+json", "/", `{"username":"alice"}`, "alice"},
		{"text/json; charset=utf-8", "/", `{"username":"alice"}`, "alice"},
		{"application/octet-stream", "/", `{"username":"alice"}`, "alice"},
		{"application/javascript", "/", `{"username":"alice"}`, "alice"},
		{"", "/", `{"username":"alice"}`, "alice"},
		{multi, "/", part("alice", "", "UserName") + "--x--\r\n", "alice"},
		{js, "/", `{"username":4711}`, "4711"},
		{js, "/", `{"username":4711,"Username":"4711"}`, "4711"},
		{form, "/", "password=x", ""},
		{form, "/", "", ""},
		{js, "/", `{"username":"alice","password":"50%;&x=%zz"}`, "alice"},
		{multi, "/", part("alice", "") + "--x--\r\n", "alice"},
		{multi, "/", part("alice", "8bit") + part("50%;&x=%zz", "", "password") + "--x--\r\n", "alice"},
		{multi, "/", part("alice", "Quoted-Printable") + "--x--\r\n", "alice"},
	} {
		require.Equal(t, c.want, read(c.contentType, c.target, c.body), "%+v", c)
	}
	for _, c := range []struct{ contentType, target, body string }{
		{form, "/?username=bob", "username=alice"},
		{form, "/?username=bob", "Username=alice"},
		{multi, "/?username=bob", part("alice", "", "USERNAME") + "--x--\r\n"},
		{"application/xml", "/?username=bob", "<a><username>alice</username></a>"},
		{form, "/", "username=alice&username=bob"},
		{form, "/", "username=alice&username=Alice"},
		{js, "/", `{"username":"alice","Username":"bob"}`},
		{js, "/", `{"username":7.0}`},
		{js, "/", `{"username":7e0}`},
		{js, "/", `{"username":true}`},
		{js, "/", `{"username":7,"Username":8}`},
		{js, "/", `{"username":"alice"`},
		{js, "/", `["alice"]`},
		{form, "/", "username=%zz"},
		{form, "/", strings.Repeat("x", 70_000) + "&username=alice"},
		{multi, "/", part("alice", "")[:30]},
		{multi, "/", part("alice", "base64") + "--x--\r\n"},
		{js, "/", `{"username":"alice"} {"username":"bob"}`},
		{js, "/", `{"username":"alice"}]`},
	} {
		require.Contains(t, read(c.contentType, c.target, c.body), "unclear", "%+v", c)
	}
	for _, b := range differing {
		require.Contains(t, read(b.contentType, "/", b.body), "unclear", "%+v", b)
	}
	// Fifty unclear failures of a whole site lock nobody else out.
	var reached atomic.Int64
	h := guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	for i := range 60 {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{"))
		r.RemoteAddr = v4(i / 5)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.EqualValues(t, 60, reached.Load())
}

// A middleware behind the guard may decode the body, and one in front of it may have done so.
func TestAnEncodedBody(t *testing.T) {
	t.Parallel()
	const packed, plain = "\x1f\x8bnot readable here", `{"username":"alice"}`
	for _, c := range []struct{ encoding, body, want string }{
		{"", packed, "alice"},
		{"identity", packed, "alice"},
		{"UTF-8", packed, "alice"},
		{"gzip", packed, "unclear"},
		{"Deflate", packed, "unclear"},
		{"gzip, gzip", plain, "unclear"},
		{"gzip", plain, "alice"},
		{"identity\ngzip", packed, "unclear"},
		{"gzip\nidentity", plain, "unclear"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?username=alice", strings.NewReader(c.body))
		r.Header.Set("Content-Type", js)
		r.Header["Content-Encoding"] = strings.Split(c.encoding, "\n")
		got := loginguard.Field("username")(r)
		require.Contains(t, got, c.want, "%q", c)
		require.Equal(t, c.want == "unclear", got != "alice", "%q", c)
	}
	r := httptest.NewRequest(http.MethodPost, "/?username=alice", strings.NewReader("x"))
	r.Header["Content-Type"] = []string{form, "application/xml"}
	require.Contains(t, loginguard.Field("username")(r), "unclear")
}

// A middleware in front of the guard may have read the form.
func TestAFormThatHasBeenRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contentType, target, body, want string }{
		{form, "/", "username=alice&password=x", "alice"},
		{form, "/?username=alice", "password=x", "alice"},
		{multi, "/", part("alice", "", "Username") + "--x--\r\n", "alice"},
		{js, "/", `{"username":"alice"}`, "alice"},
	} {
		for name, parse := range map[string]func(r *http.Request){
			"FormValue":          func(r *http.Request) { r.FormValue("csrf_token") },
			"PostFormValue":      func(r *http.Request) { r.PostFormValue("csrf_token") },
			"ParseForm":          func(r *http.Request) { _ = r.ParseForm() },
			"ParseMultipartForm": func(r *http.Request) { _ = r.ParseMultipartForm(1) },
		} {
			r := httptest.NewRequest(http.MethodPost, c.target, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			parse(r)
			require.Equal(t, c.want, loginguard.Field("username")(r), "%s %+v", name, c)
		}
	}
	for _, body := range []string{"username=alice&username=bob", "username=alice&username=ALICE"} {
		r := httptest.NewRequest(http.MethodPost, "/?username=carol", strings.NewReader(body))
		r.Header.Set("Content-Type", form)
		require.NoError(t, r.ParseForm())
		require.Contains(t, loginguard.Field("username")(r), "unclear")
	}
}

// A body that has been read and not parsed is the reason for an account that cannot be read.
func TestABodyThatHasBeenRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		read bool
		want int
	}{"read": {`{"username":"alice"}`, true, 1}, "not read": {`{"email":"alice"}`, false, 0}, "empty": {"", true, 0}} {
		log, o := logged()
		h := guard(t, o).Wrap(http.NotFoundHandler())
		for range 3 {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			if c.read {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.Equal(t, c.want, strings.Count(log.String(), "has read the body"), "%s: %s", name, log)
	}
}

func FuzzField(f *testing.F) {
	f.Add("application/json", `{"username":"alice"}`)
	f.Add("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nalice\r\n--x--\r\n")
	f.Add("application/x-www-form-urlencoded", "username=a&username=b")
	for _, b := range differing {
		f.Add(b.contentType, b.body)
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		name := loginguard.Field("username")(r)
		if err := r.ParseMultipartForm(1 << 20); err == nil || r.PostForm != nil {
			if got := r.PostFormValue("username"); strings.TrimSpace(got) != "" && !strings.Contains(name, "unclear") {
				require.Equal(t, got, name, "a handler that reads a form finds another name")
			}
		}
		r.Body = io.NopCloser(strings.NewReader(body))
		var in struct{ Username string }
		if err := json.NewDecoder(r.Body).Decode(&in); err == nil && !strings.Contains(name, "unclear") {
			if got := in.Username; strings.TrimSpace(got) != "" {
				require.Equal(t, got, name, "a handler that reads JSON finds another name")
			}
		}
	})
}
