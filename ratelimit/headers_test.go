package ratelimit

import (
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"
)

// list reads a structured field the way a client does that has never heard of us.
func list(t *testing.T, field []string) map[string]*httpsfv.Params {
	t.Helper()
	members, err := httpsfv.UnmarshalList(field)
	require.NoError(t, err, "%q", field)
	byName := map[string]*httpsfv.Params{}
	for _, m := range members {
		item, ok := m.(httpsfv.Item)
		require.True(t, ok, "a member is no item: %q", field)
		name, ok := item.Value.(string)
		require.True(t, ok, "a policy is no string: %q", field)
		require.NotContains(t, byName, name)
		byName[name] = item.Params
	}
	return byName
}

func number(t *testing.T, p *httpsfv.Params, name string) int64 {
	t.Helper()
	v, ok := p.Get(name)
	require.True(t, ok, "no %s", name)
	n, ok := v.(int64)
	require.True(t, ok, "%s is %v", name, v)
	return n
}

// Another reader of RFC 9651 finds in RateLimit and RateLimit-Policy what was decided,
// whatever the limits, windows and states.
func TestFieldsByAnotherReader(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var results []Result
		var keys []string
		for i := range 1 + rnd.IntN(4) {
			limit := 1 + rnd.IntN(1<<uint(1+rnd.IntN(20)))
			window := time.Duration(1+rnd.Int64N(int64(48*time.Hour)/1000)) * 1000
			results = append(results, Result{
				Policy: "p" + strconv.Itoa(i) + []string{"", "-login", "_x", ".y"}[rnd.IntN(4)],
				Limit:  limit, Window: window, Remaining: rnd.IntN(limit + 1),
				NextAfter: time.Duration(rnd.Int64N(int64(window) + 1)), ResetAfter: time.Duration(rnd.Int64N(int64(window) + 1)),
			})
			keys = append(keys, Key("user", strconv.Itoa(rnd.IntN(100))))
		}
		w := &headerWriter{}
		if rnd.IntN(2) == 0 {
			w.pkSecret = []byte("secret")
		}
		h := http.Header{}
		w.write(h, results, keys, false, time.Now().UnixNano())
		limits, policies := list(t, h["Ratelimit"]), list(t, h["Ratelimit-Policy"])
		require.Len(t, limits, len(results))
		require.Len(t, policies, len(results))
		for _, r := range results {
			require.EqualValues(t, r.Remaining, number(t, limits[r.Policy], "r"))
			wait := time.Duration(number(t, limits[r.Policy], "t")) * time.Second
			require.GreaterOrEqual(t, wait, r.NextAfter, "a client that waits this long comes too early")
			require.Less(t, wait, r.NextAfter+time.Second)
			require.EqualValues(t, r.Limit, number(t, policies[r.Policy], "q"))
			if r.Window >= time.Second {
				require.EqualValues(t, r.Window/time.Second, number(t, policies[r.Policy], "w"))
			}
			pk, ok := limits[r.Policy].Get("pk")
			require.Equal(t, w.pkSecret != nil, ok)
			if ok {
				require.Len(t, pk, 16, "pk is %v", pk)
			}
		}
	}
}

// The members of an outer limiter, perhaps of another make, stay, and the list is one.
func TestFieldsBesideAnOuterLimiter(t *testing.T) {
	t.Parallel()
	h := http.Header{"Ratelimit": {`"outer";r=3;t=10`}, "Ratelimit-Policy": {`"outer";q=10;qu="requests"`}}
	(&headerWriter{}).write(h, []Result{{Policy: "inner", Limit: 5, Window: time.Minute, Remaining: 4}}, []string{"k"}, false, time.Now().UnixNano())
	require.Len(t, list(t, h["Ratelimit"]), 2)
	require.Len(t, list(t, h["Ratelimit-Policy"]), 2)
	require.EqualValues(t, 3, number(t, list(t, h["Ratelimit"])["outer"], "r"))
}

// A name that would need quoting does not become a policy at all.
func TestPolicyNamesNeedNoQuotes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{``, `a"b`, `a\b`, "a b", "a\nb", "é", "a,b", "a;b=1", "a:b", "{a}"} {
		_, err := NewMemory(Policy{Name: name, Limit: 1, Window: time.Second}, nil)
		require.Error(t, err, "%q", name)
	}
}

// FuzzKey: no id imitates another, leaves its key, or makes it long.
func FuzzKey(f *testing.F) {
	f.Add("42", "h:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
	f.Add("", "h:")
	f.Add("a:b", "a_b")
	f.Add("user@example.com", "USER@example.com")
	f.Add("x}", "{x")
	f.Add("1\r\n", "1")
	f.Fuzz(func(t *testing.T, a, b string) {
		ka, kb := Key("user", a), Key("user", b)
		require.Equal(t, a == b, ka == kb, "%q and %q share %q", a, b, ka)
		require.NotEqual(t, ka, Key("tenant", b))
		require.Regexp(t, `^user:(h:)?[A-Za-z0-9._@-]{1,64}$`, ka)
		request, _ := http.NewRequest(http.MethodGet, "/", nil)
		hashed := Hashed(func(*http.Request) string { return ka }, []byte("secret"))(request)
		require.Regexp(t, `^user:k:[A-Za-z0-9_-]{43}$`, hashed)
		digest, err := base64.RawURLEncoding.DecodeString(hashed[len("user:k:"):])
		require.NoError(t, err)
		require.Len(t, digest, 32)
	})
}

// FuzzDottedQuad: the short way to an address's key and the long one lead to the same.
func FuzzDottedQuad(f *testing.F) {
	for _, s := range []string{
		"203.0.113.7:4711", "0.0.0.0:0", "255.255.255.255:65535", "1.2.3.4:65536", "1.2.3.4:00080", "01.2.3.4:1", "1.2.3:1",
		"1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.256:1", "1..3.4:1", "[::1]:80", "1.2.3.4:+1", "1.2.3.4.5:1", "", "@",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		host, ok := dottedQuad(remote)
		if !ok {
			return
		}
		at, err := netip.ParseAddrPort(remote)
		require.NoError(t, err)
		require.Equal(t, addrKey(at.Addr(), 64), "ip:"+host)
	})
}

// The wall clock is looked at once a second, and followed when it is set.
func TestWallClock(t *testing.T) {
	t.Parallel()
	c := wallClock{base: time.Now().Add(-time.Hour)}
	first := c.at(int64(time.Since(c.base)))
	require.InDelta(t, time.Now().UnixNano(), first, float64(10*time.Second))
	c.offset.Add(-int64(24 * time.Hour)) // as it would be had the clock been set forward since
	read := c.read.Load() - 1
	require.InDelta(t, time.Now().Add(-24*time.Hour).UnixNano(), c.at(read+int64(time.Second)-1), float64(10*time.Second))
	require.InDelta(t, time.Now().UnixNano(), c.at(read+int64(time.Second)), float64(10*time.Second))
}
