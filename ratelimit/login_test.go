package ratelimit

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoginCountsFailuresOnly(t *testing.T) {
	t.Parallel()
	rules, err := LoginRules(func(p Policy) (Limiter, error) { return NewMemory(p, nil) }, byIP(t), JSONField("username"), nil)
	require.NoError(t, err)
	var handled int
	h := wrap(t, nil, func(w http.ResponseWriter, r *http.Request) {
		handled++
		var in struct{ Username, Password string }
		require.NoError(t, json.NewDecoder(r.Body).Decode(&in), "the handler sees the whole body")
		if in.Password != "right" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}, rules...)
	for range 20 {
		require.Equal(t, http.StatusOK, send(h, http.MethodPost, `{"username":"anna","password":"right"}`).Code)
	}
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, send(h, http.MethodPost, `{"username":"anna","password":"wrong"}`).Code)
	}
	require.Equal(t, http.StatusTooManyRequests, send(h, http.MethodPost, `{"username":"anna","password":"right"}`).Code)
	require.Equal(t, 25, handled)
}

// policies are the policies of rules, by name.
func policies(rules []Rule) map[string]Policy {
	m := make(map[string]Policy)
	for _, r := range rules {
		p := r.Limiter.(*Memory).Policy()
		m[p.Name] = p
	}
	return m
}

func TestLoginRulesDefaults(t *testing.T) {
	t.Parallel()
	perHour := func(name string, n int) Policy { return Policy{Name: name, Limit: n, Window: time.Hour} }
	off := func(name string) Policy { return Policy{Name: name, Limit: Unlimited} }
	for name, c := range map[string]struct {
		opts *LoginOptions
		want []Policy
	}{
		"none": {nil, []Policy{Login(), perHour("login-account", 50)}},
		"a raised Address raises the pair, which then says nothing more": {
			&LoginOptions{Address: perHour("login", 20)}, []Policy{perHour("login", 20), perHour("login-account", 50)},
		},
		"and the account where it would be tighter than the pair": {
			&LoginOptions{Address: perHour("login", 80)}, []Policy{perHour("login", 80), perHour("login-account", 80)},
		},
		"a school behind one address": {
			&LoginOptions{Address: perHour("login", 500), Pair: perHour("login-pair", 5)},
			[]Policy{perHour("login", 500), perHour("login-pair", 5), perHour("login-account", 50)},
		},
		"no limit by address": {
			&LoginOptions{Address: off("login")}, []Policy{perHour("login-pair", 5), perHour("login-account", 50)},
		},
		"all off": {&LoginOptions{Address: off("login"), Pair: off("login-pair"), Account: off("login-account")}, nil},
		"a pair that only watches beside an address that does": {
			&LoginOptions{Address: Policy{Name: "login", Limit: 9, Window: time.Minute, Shadow: true}},
			[]Policy{
				{Name: "login", Limit: 9, Window: time.Minute, Shadow: true},
				{Name: "login-pair", Limit: 9, Window: time.Minute, Shadow: true},
				perHour("login-account", 50),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, err := LoginRules(func(p Policy) (Limiter, error) { return NewMemory(p, nil) }, byIP(t), JSONField("username"), c.opts)
			require.NoError(t, err)
			want := make(map[string]Policy)
			for _, p := range c.want {
				want[p.Name] = p
			}
			require.Equal(t, want, policies(rules))
			wrap(t, nil, ok, rules...) // also of none
		})
	}
}

func TestALoginDoesNotFailOpen(t *testing.T) {
	t.Parallel()
	open := Login()
	open.OnFailure = FailOpen
	_, err := LoginRules(func(p Policy) (Limiter, error) { return NewMemory(p, nil) }, byIP(t), JSONField("username"), &LoginOptions{Address: open})
	require.ErrorContains(t, err, "policy login")
}

func TestMiddlewareOfNoRulesLetsThrough(t *testing.T) {
	t.Parallel()
	h := wrap(t, nil, ok)
	for range 50 {
		w := send(h, http.MethodPost, `{}`)
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Empty(t, w.Header())
	}
}

func field(body string) string {
	r, err := http.NewRequest(http.MethodPost, "/login/", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	return JSONField("username")(r)
}

// Each row is a way to show the limiter another name than the handler sees.
func TestJSONFieldHidesNoName(t *testing.T) {
	t.Parallel()
	pad := strings.Repeat("x", maxFieldBody)
	for body, want := range map[string]string{
		"":                                      "",
		"  \n":                                  "",
		`{}`:                                    "",
		`{"user":"anna"}`:                       "",
		`{"username":null}`:                     "",
		`{"username":"  "}`:                     "",
		`{"username":"Anna "}`:                  "anna",
		`{"USERNAME":"anna"}`:                   "anna",
		`{"u\u017fername":"anna"}`:              "anna", // a long s, which encoding/json folds
		`{"\u0075sername":"anna"}`:              "anna",
		`{"username":"anna","Username":"ANNA"}`: "anna",
		`{"a":{"username":"mallory"},"username":"anna"}`:             "anna",
		`{"username":"anna"} {"username":"mallory"}`:                 "anna", // as a json.Decoder reads it
		`{"username":"anna"} trailing`:                               "anna",
		`{"username":"anna","username":"mallory"}`:                   UnclearField,
		`{"username":"mallory","Username":"anna"}`:                   UnclearField,
		`{"username":"anna","username":null}`:                        UnclearField,
		`{"username":["anna"]}`:                                      UnclearField,
		`{"username":7}`:                                             UnclearField,
		`["anna"]`:                                                   UnclearField,
		`"anna"`:                                                     UnclearField,
		`{'username':'anna'}`:                                        UnclearField,
		"\ufeff" + `{"username":"anna"}`:                             UnclearField,
		`{"username":"anna"`:                                         UnclearField,
		`{"username":"anna","pad":"` + pad + `"}`:                    UnclearField,
		`{"username":"mallory","p":"` + pad + `","username":"anna"}`: UnclearField,
		pad: UnclearField,
	} {
		require.Equal(t, want, field(body), "%.60q", body)
	}
}

func TestJSONFieldLeavesTheBody(t *testing.T) {
	t.Parallel()
	body := `{"username":"anna","pad":"` + strings.Repeat("x", 3*maxFieldBody) + `"}`
	var handled int
	rules, err := LoginRules(func(p Policy) (Limiter, error) { return NewMemory(p, nil) }, byIP(t), JSONField("username"), nil)
	require.NoError(t, err)
	h := wrap(t, nil, func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Username, Pad string }
		require.NoError(t, json.NewDecoder(r.Body).Decode(&in))
		require.Len(t, in.Pad, 3*maxFieldBody)
		handled++
		w.WriteHeader(http.StatusUnauthorized)
	}, rules...)
	for range 9 {
		send(h, http.MethodPost, body)
	}
	require.Equal(t, 5, handled)
}

// However the name is hidden, tries at one account spread over any number of addresses
// end at the account's limit.
func TestHiddenNamesShareOneLimit(t *testing.T) {
	t.Parallel()
	rules, err := LoginRules(func(p Policy) (Limiter, error) { return NewMemory(p, nil) },
		func(r *http.Request) string { return Key("ip", r.Header.Get("X-Test-Address")) }, JSONField("username"), nil)
	require.NoError(t, err)
	var handled int
	h := wrap(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		handled++
		w.WriteHeader(http.StatusUnauthorized)
	}, rules...)
	for i := range 300 {
		r, err := http.NewRequest(http.MethodPost, "/login/", strings.NewReader(`{"username":"mallory`+strings.Repeat("x", i)+`","username":"anna"}`))
		require.NoError(t, err)
		r.Header.Set("X-Test-Address", strings.Repeat("a", i%60+1))
		h.ServeHTTP(discard{}, r)
	}
	require.Equal(t, 50, handled)
}

// discard is a ResponseWriter of which nobody reads anything.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// A handler that decodes with encoding/json never sees a name that the limiter missed.
func FuzzJSONField(f *testing.F) {
	for _, s := range []string{
		"", `{}`, `{"username":"anna"}`, `{"Username":"a","username":"b"}`, `{"username":null,"username":"x"}`, `{"u\u017fername":"a"}x`,
		`null`, `[]`, `{"username":"a"`, `{"username":{"username":"a"}}`, "\ufeff{}", `{"username":"\ud800"}`, `{"":"a","username":"b"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := field(body)
		if got == UnclearField {
			return
		}
		var in struct {
			Username string `json:"username"`
		}
		if json.NewDecoder(strings.NewReader(body)).Decode(&in) != nil {
			return // the handler refuses, and the try counts for whomever it names
		}
		if want := strings.ToLower(strings.TrimSpace(in.Username)); got != want {
			t.Fatalf("%q: the limiter sees %q, the handler %q", body, got, want)
		}
	})
}
