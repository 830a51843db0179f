package ratelimit

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		hash, err := Hashed(func(*http.Request) string { return ka }, []byte("a secret of bytes"))
		require.NoError(t, err)
		hashed := hash(request)
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
		require.Equal(t, addrKey(at.Addr(), 32, 64), "ip:"+host)
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
