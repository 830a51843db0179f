package health

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
)

// BearerToken returns an Options.Authorize that accepts the header "Authorization:
// Bearer <token>". The comparison takes the same time for every wrong token. An empty
// token accepts no caller.
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

// AllowFrom returns an Options.Authorize that accepts connections from the given
// networks. It uses the peer address of the connection and no header. Do not use it
// behind a proxy: the peer is then always the proxy.
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

// AnyOf returns an Options.Authorize that accepts a request if one of the rules accepts
// it.
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
