package ratelimit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/mainstay-go/mainstay/internal/trustedproxy"
)

// KeyFunc names whoever sent a request. It must never return "", which the
// middleware answers with 500: give callers without an identity a fallback.
type KeyFunc func(*http.Request) string

// Key returns "kind:id", such as "user:42". An id of 1 to 64 letters, digits and
// ". _ @ -" is kept; any other becomes a hash, so that no id can imitate another
// key, break out of a Redis key or take much room. Ids are compared as they are:
// fold their case first where your users' names do not depend on it.
func Key(kind, id string) string {
	if plainID(id) {
		return kind + ":" + id
	}
	sum := sha256.Sum256([]byte(id))
	return kind + ":h:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// plainID keeps hashes and plain ids apart as well: a colon is not plain.
func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '@' || c == '-') {
			return false
		}
	}
	return true
}

// IPOptions configure ByIP.
type IPOptions struct {
	// TrustedProxies are the proxies in front of the service: addresses, prefixes, or
	// "unix" for whoever connects through a unix socket. Only what they say about
	// their client is believed. Default: none; the peer of the connection is the client.
	TrustedProxies []string
	// Header is what those proxies write: "X-Forwarded-For", "Forwarded", or one that
	// carries a single address, such as "CF-Connecting-IP". Default: "X-Forwarded-For".
	Header string
	// IPv6Prefix is how many leading bits of an IPv6 address make the key, 48 to 128:
	// one client owns at least a /64. Default: 64.
	IPv6Prefix int
}

// ByIP returns a KeyFunc "ip:203.0.113.7" or "ip:2001-db8-1-2--" (an IPv6 address
// cut to its prefix, with '-' for ':'). An IPv4 address mapped into IPv6 is the IPv4
// address, and a zone is left out. Callers whose address cannot be had share the key
// "ip:unknown": those on a unix socket that is not trusted, and those whose proxy
// sent a chain that does not parse. opts may be nil.
func ByIP(opts *IPOptions) (KeyFunc, error) {
	var o IPOptions
	if opts != nil {
		o = *opts
	}
	proxies, err := trustedproxy.Parse(o.TrustedProxies...)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: trusted proxies: %w", err)
	}
	if o.Header != "" {
		if proxies, err = proxies.Using(o.Header); err != nil {
			return nil, fmt.Errorf("ratelimit: trusted proxies: %w", err)
		}
	}
	if o.IPv6Prefix == 0 {
		o.IPv6Prefix = 64
	}
	if o.IPv6Prefix < 48 || o.IPv6Prefix > 128 {
		return nil, fmt.Errorf("ratelimit: IPv6Prefix %d is not between 48 and 128", o.IPv6Prefix)
	}
	direct := len(o.TrustedProxies) == 0
	return func(r *http.Request) string {
		if direct {
			if host, ok := dottedQuad(r.RemoteAddr); ok {
				return "ip:" + host
			}
		}
		addr, ok := proxies.ClientAddr(r)
		if !ok {
			return "ip:unknown"
		}
		return addrKey(addr, o.IPv6Prefix)
	}, nil
}

// dottedQuad returns the host of an address such as "203.0.113.7:4711" if it is an IPv4
// one in its only canonical form, and nothing needs to be parsed and written anew.
func dottedQuad(remote string) (host string, ok bool) {
	field, digits, dots := 0, 0, 0
	for i := range len(remote) {
		switch c := remote[i]; {
		case c >= '0' && c <= '9':
			if digits > 0 && field == 0 {
				return "", false
			}
			if field = field*10 + int(c-'0'); field > 255 {
				return "", false
			}
			digits++
		case c == '.' && digits > 0 && dots < 3:
			dots++
			field, digits = 0, 0
		case c == ':' && digits > 0 && dots == 3:
			return remote[:i], isPort(remote[i+1:])
		default:
			return "", false
		}
	}
	return "", false
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && (len(s) < 5 || len(s) == 5 && s <= "65535")
}

func addrKey(addr netip.Addr, bits int) string {
	var buf [64]byte
	b := append(buf[:0], "ip:"...)
	if addr.Is4() {
		return string(addr.AppendTo(b))
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return "ip:unknown"
	}
	b = prefix.Addr().AppendTo(b)
	for i := 3; i < len(b); i++ {
		if b[i] == ':' {
			b[i] = '-'
		}
	}
	if bits != 64 {
		b = strconv.AppendInt(append(b, '_'), int64(bits), 10)
	}
	return string(b)
}

// ByUser returns a KeyFunc "user:<id>" for those that user names, and fallback's key
// for those for whom it returns "". The kinds differ, so nobody can pass for an
// address by a user name.
func ByUser(user func(*http.Request) string, fallback KeyFunc) KeyFunc {
	return By("user", user, fallback)
}

// By is ByUser for a kind of your own, such as "tenant".
func By(kind string, id func(*http.Request) string, fallback KeyFunc) KeyFunc {
	return func(r *http.Request) string {
		if s := id(r); s != "" {
			return Key(kind, s)
		}
		return fallback(r)
	}
}

// Hashed returns f with everything after the kind replaced by a keyed hash
// (HMAC-SHA-256), so that no user name and no address lies in Redis. The secret must
// be the same in all instances.
func Hashed(f KeyFunc, secret []byte) KeyFunc {
	secret = append([]byte(nil), secret...)
	return func(r *http.Request) string {
		key := f(r)
		if key == "" {
			return ""
		}
		kind := len(key)
		for i := range len(key) {
			if key[i] == ':' {
				kind = i
				break
			}
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(key))
		return key[:kind] + ":k:" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
}
