package ratelimit

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Forty clients that get one key are reported once.
func TestSharedKeysAreReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remote, header, value string
		trusted               []string
		read                  string
		want                  string // part of the warning; "" for none
	}{
		"unix, nothing trusted":         {"@", "X-Forwarded-For", "203.0.113.%d", nil, "", "unix socket that is not trusted"},
		"unix, without a header":        {"", "X-Other", "203.0.113.%d", nil, "", "unix socket that is not trusted"},
		"unix, an address trusted":      {"@", "X-Forwarded-For", "203.0.113.%d", []string{"127.0.0.1"}, "", "unix socket that is not trusted"},
		"unix trusted, silent":          {"@", "X-Other", "203.0.113.%d", []string{"unix"}, "", "without the header that is read"},
		"unix trusted, another header":  {"/run/s", "Forwarded", "for=203.0.113.%d", []string{"unix"}, "", "without the header that is read"},
		"unix trusted, unclear":         {"@", "X-Forwarded-For", "client%d", []string{"unix"}, "", "does not parse"},
		"proxy, unclear":                {"10.0.0.1:1", "X-Forwarded-For", "client%d", []string{"10.0.0.0/8"}, "", "does not parse"},
		"proxy, another header":         {"10.0.0.1:1", "Forwarded", "for=203.0.113.%d", []string{"10.0.0.0/8"}, "", "another forwarded header"},
		"public proxy, another header":  {"198.51.100.1:1", "X-Forwarded-For", "203.0.113.%d", []string{"198.51.100.1"}, "Forwarded", "another forwarded header"},
		"another private proxy":         {"192.168.0.1:1", "X-Forwarded-For", "203.0.113.%d", []string{"10.0.0.0/8"}, "", "is not trusted"},
		"another proxy on loopback":     {"[::1]:1", "X-Real-Ip", "203.0.113.%d", []string{"10.0.0.0/8"}, "", "is not trusted"},
		"private peer, nothing trusted": {"10.0.0.1:1", "X-Forwarded-For", "203.0.113.%d", nil, "", "is not trusted"},
		"own header of another proxy":   {"192.168.0.1:1", "CF-Connecting-IP", "203.0.113.%d", []string{"10.0.0.0/8"}, "CF-Connecting-IP", "is not trusted"},
		"public client forges a header": {"203.0.113.9:1", "X-Forwarded-For", "198.51.100.%d", []string{"10.0.0.0/8"}, "", ""},
		"health check of the proxy":     {"10.0.0.1:1", "X-Other", "%d", []string{"10.0.0.0/8"}, "", ""},
		"client in this network":        {"192.168.0.9:1", "X-Other", "%d", nil, "", ""},
	} {
		var log bytes.Buffer
		key, err := ByIP(&IPOptions{TrustedProxies: c.trusted, Header: c.read, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err, name)
		keys := map[string]bool{}
		for i := range 40 {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.remote
			r.Header.Set(c.header, fmt.Sprintf(c.value, i))
			keys[key(r)] = true
		}
		require.Len(t, keys, 1, name)
		if c.want == "" {
			require.Empty(t, log.String(), name)
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"), "%s: %s", name, log.String())
		require.Contains(t, log.String(), c.want, name)
	}
}

// Proxies that include clients of the Internet are refused, however they are written.
func TestTrustedProxiesAreFew(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"0.0.0.0/0": false, "::ffff:0.0.0.0/96": false, "0.0.0.0/1": false, "128.0.0.0/7": false, "::/0": false, "2000::/3": false, "10.0.0.0/8 ::/1": false,
		"10.0.0.0/8": true, "::ffff:10.0.0.0/104": true, "fc00::/7": true, "unix": true, "127.0.0.1": true,
	} {
		_, err := ByIP(&IPOptions{TrustedProxies: []string{prefix}})
		require.Equal(t, ok, err == nil, prefix)
	}
}
