package health

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
)

// BearerToken returns an Options.Authorize that accepts the header
// "Authorization: Bearer <token>". The comparison takes the same time for
// every wrong token. An empty token accepts nobody.
func BearerToken(token string) func(*http.Request) bool {
	want := sha256.Sum256([]byte(token))
	return func(r *http.Request) bool {
		header := r.Header.Get("Authorization")
		const scheme = "Bearer "
		if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
			return false
		}
		got := sha256.Sum256([]byte(header[len(scheme):]))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
}

// AllowFrom returns an Options.Authorize that accepts connections from the
// given networks. It looks at the peer of the connection and at no header:
// behind a proxy that is the proxy, so do not use it there.
func AllowFrom(networks ...netip.Prefix) func(*http.Request) bool {
	return func(r *http.Request) bool {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return false
		}
		addr := peer.Addr().Unmap().WithZone("")
		for _, n := range networks {
			if n.Contains(addr) {
				return true
			}
		}
		return false
	}
}

// AnyOf returns an Options.Authorize that accepts whom one of the given ones
// accepts.
func AnyOf(rules ...func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		for _, allowed := range rules {
			if allowed(r) {
				return true
			}
		}
		return false
	}
}
