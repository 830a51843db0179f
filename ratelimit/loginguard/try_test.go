package loginguard_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// readers is a login that reads the account as a form, as JSON, as XML and as YAML, whatever the Content-Type says, and counts
// the requests in which a reader finds an account. A user's password is "right-" and the name.
type readers struct {
	http.Handler
	found map[string]int
}

func newReaders(t testing.TB, o loginguard.Options) *readers {
	s := &readers{found: map[string]int{}}
	s.Handler = guard(t, o).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		name, password := r.PostFormValue("username"), r.PostFormValue("password")
		plain, _ := url.ParseQuery(string(body))
		var in struct{ Username, Password string }
		_ = json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))).Decode(&in)
		var tree struct{ Username string }
		_ = xml.Unmarshal(body, &tree)
		line, _, _ := strings.Cut(strings.TrimPrefix(string(body), "username: "), "\n")
		found := map[string]bool{name: true, plain.Get("username"): true, in.Username: true, tree.Username: true, line: true}
		for name := range found {
			s.found[name]++
		}
		if name != "" && password == "right-"+name {
			ratelimit.AdmissionFrom(r.Context()).Succeed()
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	return s
}

func (s *readers) post(addr, contentType, body string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/login/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.RemoteAddr = addr
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// The success of a client at its own account makes no device of a request in which readers find several names.
func TestUnclearNamesAreOnNoDevice(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"username=x", "x=%zz", "x=" + strings.Repeat("x", 70_000)} {
		s := newReaders(t, loginguard.Options{})
		for range 100 {
			own := s.post("203.0.113.5:1", form, "username=mallory&password=right-mallory&"+other).Result().Cookies()
			require.Empty(t, own)
			for range 5 {
				s.post("203.0.113.5:1", form, "username=alice&password=guess&"+other, own...)
			}
		}
		require.Equal(t, 5, s.found["alice"], "%.20s", other)
	}
}

// The account's limit holds for every name that a reader finds, and the owner's device is spared.
func TestEveryReadersNameCounts(t *testing.T) {
	t.Parallel()
	for _, b := range differing {
		s := newReaders(t, loginguard.Options{})
		device := s.post("198.51.100.7:1", form, "username=alice&password=right-alice").Result().Cookies()
		require.Len(t, device, 1)
		s.found = map[string]int{}
		for i := range 120 {
			s.post(v4(i), b.contentType, strings.Replace(b.body, "mallory", fmt.Sprint("mallory", i), 1))
		}
		require.LessOrEqual(t, s.found["alice"], 50, "%.90s", b.body)
		require.Equal(t, http.StatusUnauthorized, s.post("192.0.2.1:1", form, "username=alice&password=right-alice", device...).Code, "the owner is served")
	}
}

// Requests without a name, or with too many, share one account once the guard has read a name. Until then it may read the
// wrong field, and no address pays for another one.
func TestUnreadableNamesShareAnAccount(t *testing.T) {
	t.Parallel()
	many := "username=a&username=b&username=c&username=d&username=alice"
	for _, body := range []string{"", "{", "email=alice", "<name>%zz</name>", many} {
		for _, readable := range []bool{false, true} {
			s, want := newReaders(t, loginguard.Options{}), 120
			if body == many {
				want = 50
			}
			if readable {
				s.post("198.51.100.7:1", form, "username=bob")
				want = 50
			}
			s.found = map[string]int{}
			reached := 0
			for i := range 120 {
				if s.post(v4(i), form, body).Code == http.StatusUnauthorized {
					reached++
				}
			}
			require.Equal(t, want, reached, "%q %v", body, readable)
		}
	}
}

// A wrong field locks no site out: a scanner that sends the field is no sign that the login form does, once a login without
// it has succeeded. A success with an account is one.
func TestAScannerAtAWrongField(t *testing.T) {
	t.Parallel()
	for _, right := range []bool{false, true} {
		h := guard(t, loginguard.Options{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.FormValue("password"), "right") {
				ratelimit.AdmissionFrom(r.Context()).Succeed()
			}
			w.WriteHeader(http.StatusUnauthorized)
		}))
		post := func(addr, body string) int {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set("Content-Type", form)
			r.RemoteAddr = addr
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		post("192.0.2.1:1", "username=admin&password=guess")
		post("192.0.2.2:1", "email=bob&password=right")
		if right {
			post("192.0.2.3:1", "username=bob&password=right")
			post("192.0.2.2:1", "email=bob&password=right")
		}
		reached := 0
		for i := range 120 {
			if post(v4(i), "email=alice&password=guess") == http.StatusUnauthorized {
				reached++
			}
		}
		require.Equal(t, map[bool]int{false: 120, true: 50}[right], reached)
	}
}

// Spellings that the service holds equal are one name. Without its word they share limits, and no device is known for both.
func TestSpellings(t *testing.T) {
	t.Parallel()
	const body = "username=mallory&username=Mallory&password=right-mallory"
	equal := loginguard.Options{Fold: strings.ToLower}
	require.Len(t, newReaders(t, equal).post("203.0.113.5:1", form, body).Result().Cookies(), 1)
	exact := loginguard.Options{Fold: func(s string) string { return s }}
	require.Empty(t, newReaders(t, exact).post("203.0.113.5:1", form, body).Result().Cookies())
	require.Empty(t, newReaders(t, loginguard.Options{}).post("203.0.113.5:1", form, body).Result().Cookies())
}

// A function around Field may add text to the name: it is part of every name that a reader finds.
func TestTextAroundField(t *testing.T) {
	t.Parallel()
	field := loginguard.Field("username")
	s := newReaders(t, loginguard.Options{Account: func(r *http.Request) string { return "shop/" + field(r) + "@example.org" }})
	for i := range 120 {
		body := "username=alice&password=guess"
		if i >= 30 {
			body += fmt.Sprint("&username=x", i)
		}
		s.post(v4(i), form, body)
	}
	require.Equal(t, 50, s.found["alice"])
}

// A form whose field has another name than Options.Account reads is reported.
func TestNoNameIsReported(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := newReaders(t, loginguard.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 300 {
		s.post(v4(i), form, "email=alice&password=guess")
	}
	require.Equal(t, 1, strings.Count(log.String(), "no account can be read"))
}

// A client that sends the text of Field as its name is on no device.
func TestNamesInTheFormOfField(t *testing.T) {
	t.Parallel()
	raw := loginguard.Options{Account: func(r *http.Request) string { return r.URL.Query().Get("username") }}
	for _, o := range []loginguard.Options{{}, raw} {
		h := guard(t, o).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ratelimit.AdmissionFrom(r.Context()).Succeed() }))
		for _, name := range []string{"%00", "%00unclear:", "%00unclear:alice", "%00unclear:%00"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?username="+name, nil))
			if name != "%00" || o.Account == nil {
				require.Empty(t, w.Result().Cookies(), name)
			}
		}
	}
}

// A handler that states successes is not accused because known devices fail. One that never does is reported to the
// guard's own logger, once.
func TestHandlersThatStateNoSuccess(t *testing.T) {
	t.Parallel()
	for _, states := range []bool{true, false} {
		log, o := logged()
		s := newSite(t, o)
		for i := range 10 {
			name, password := fmt.Sprint("user", i), "wrong"
			if states {
				password = "right"
			}
			cookies := s.post(v4(i), name, password).Result().Cookies()
			for range 4 {
				s.post(v4(i), name, "wrong", cookies...)
			}
		}
		want := 1
		if states {
			want = 0
		}
		require.Equal(t, want, strings.Count(log.String(), "no handler has stated the success"), log)
	}
}
