package ratelimit

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/mainstay-go/mainstay/internal/trustedproxy"
)

// KeyFunc returns the key of the client that sent a request. It must not return "", which
// the middleware answers with 500: give callers without an identity a fallback.
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
	// "unix" for a peer that connects through a unix socket. Only their forwarded headers
	// are read. Default: empty; the peer of the connection is the client.
	TrustedProxies []string
	// Header is what those proxies write: "X-Forwarded-For", "Forwarded", or one that
	// carries a single address, such as "CF-Connecting-IP". Default: "X-Forwarded-For".
	Header string
	// IPv6Prefix is how many leading bits of an IPv6 address make the key, 32 to 128:
	// one client owns at least a /64. Default: 64.
	IPv6Prefix int
	// IPv4Prefix is how many leading bits of an IPv4 address make the key, 8 to 32.
	// Default: 32.
	IPv4Prefix int
	// Logger receives a warning about the first request of each kind for which many clients
	// share one key: from a unix socket or a proxy of this network that is not trusted, and
	// from a trusted proxy that does not send Header or sends one that does not parse.
	// Default: slog.Default().
	Logger *slog.Logger
}

// ByIP returns a KeyFunc "ip:203.0.113.7" or "ip:2001-db8-1-2--" (an IPv6 address
// truncated to its prefix, with '-' for ':'). An IPv4 address that is mapped into IPv6, or
// translated by NAT64 (64:ff9b::/96), is the IPv4 address. A zone is left out. Callers
// without an address share the key "ip:unknown": those on a unix socket that is not trusted,
// and those whose proxy sent a chain that does not parse. opts may be nil.
func ByIP(opts *IPOptions) (KeyFunc, error) {
	var o IPOptions
	if opts != nil {
		o = *opts
	}
	proxies, err := trustedproxy.Parse(o.TrustedProxies...)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: trusted proxies: %w", err)
	}
	if p, ok := proxies.Widest(); ok && (p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 7) {
		return nil, fmt.Errorf("ratelimit: TrustedProxies has %s, so that clients of the Internet could choose their own keys; name the proxies", p)
	}
	shared := &sharing{header: "X-Forwarded-For", logger: o.Logger}
	for _, p := range o.TrustedProxies {
		for f := range strings.FieldsSeq(strings.ReplaceAll(p, ",", " ")) {
			shared.unix = shared.unix || f == "unix"
		}
	}
	if o.Header != "" {
		if len(o.TrustedProxies) == 0 {
			return nil, fmt.Errorf("ratelimit: the header %s is not read, because TrustedProxies names no proxy that writes it", o.Header)
		}
		if proxies, err = proxies.Using(o.Header); err != nil {
			return nil, fmt.Errorf("ratelimit: trusted proxies: %w", err)
		}
		shared.header = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(o.Header))
	}
	o.IPv6Prefix = cmp.Or(o.IPv6Prefix, 64)
	o.IPv4Prefix = cmp.Or(o.IPv4Prefix, 32)
	if o.IPv6Prefix < 32 || o.IPv6Prefix > 128 {
		return nil, fmt.Errorf("ratelimit: IPv6Prefix %d is not between 32 and 128", o.IPv6Prefix)
	}
	if o.IPv4Prefix < 8 || o.IPv4Prefix > 32 {
		return nil, fmt.Errorf("ratelimit: IPv4Prefix %d is not between 8 and 32", o.IPv4Prefix)
	}
	if o.Logger == nil {
		shared.logger = slog.Default()
	}
	shared.proxies = proxies
	direct := len(o.TrustedProxies) == 0
	return func(r *http.Request) string {
		if direct && o.IPv4Prefix == 32 {
			if host, ok := dottedQuad(r.RemoteAddr); ok {
				if local(host) && !shared.warned[sharedPeer].Load() {
					shared.notice(r, true)
				}
				return "ip:" + host
			}
		}
		addr, ok := proxies.ClientAddr(r)
		if !ok || addr.IsLoopback() || addr.IsPrivate() || !direct && len(r.Header[shared.header]) == 0 {
			shared.notice(r, ok)
		}
		if !ok {
			return "ip:unknown"
		}
		return addrKey(addr, o.IPv4Prefix, o.IPv6Prefix)
	}, nil
}

// local reports quickly whether a dotted address may be of this machine or network.
func local(host string) bool {
	return strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "10.") || strings.HasPrefix(host, "192.168.") || strings.HasPrefix(host, "172.")
}

// sharing warns of requests whose clients share one key, once for each kind.
type sharing struct {
	proxies trustedproxy.Proxies
	unix    bool   // a unix socket is trusted
	header  string // canonical; the trusted proxies write it
	logger  *slog.Logger
	warned  [len(sharedBy)]atomic.Bool
}

const (
	sharedUnix = iota
	sharedPeer
	sharedUnixSilent
	sharedOtherHeader
	sharedUnclear
)

var sharedBy = [...]string{
	sharedUnix:        `requests come through a unix socket that is not trusted, so all clients share the key ip:unknown; name "unix" in TrustedProxies and make the proxy send a forwarded header`,
	sharedPeer:        "a peer in this network sends forwarded headers and is not trusted, so all of its clients share its key; name it in TrustedProxies",
	sharedUnixSilent:  "requests come through the trusted unix socket without the header that is read, so all clients share the key ip:unknown; make the proxy send it, or set Header",
	sharedOtherHeader: "a trusted proxy sends another forwarded header than the one that is read, so all of its clients share its key; set Header, or change the proxy",
	sharedUnclear:     "the header of a trusted proxy does not parse, so its clients share the key ip:unknown; make the proxy send addresses only",
}

// notice looks for a request of one of these kinds. known means that the client has an address.
func (s *sharing) notice(r *http.Request, known bool) {
	var kind int
	read := len(r.Header[s.header]) > 0
	forwarded := read || r.Header["X-Forwarded-For"] != nil || r.Header["Forwarded"] != nil || r.Header["X-Real-Ip"] != nil
	unix := r.RemoteAddr == "" || r.RemoteAddr[0] == '@' || r.RemoteAddr[0] == '/'
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := peer.Addr().Unmap()
	switch trusted := unix && s.unix || addr.IsValid() && s.proxies.Trusts(addr); {
	case trusted && read && !known:
		kind = sharedUnclear
	case trusted && !read && forwarded && known:
		kind = sharedOtherHeader
	case trusted && !read && !known:
		kind = sharedUnixSilent
	case !trusted && unix:
		kind = sharedUnix
	case !trusted && forwarded && (addr.IsLoopback() || addr.IsPrivate()):
		kind = sharedPeer
	default:
		return
	}
	if !s.warned[kind].Load() && s.warned[kind].CompareAndSwap(false, true) {
		s.logger.Warn("ratelimit: "+sharedBy[kind], "peer", r.RemoteAddr, "header", s.header)
	}
}

// dottedQuad returns the host of an address such as "203.0.113.7:4711" if it is an IPv4
// one in its only canonical form, and needs no parsing.
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

// nat64 is the well-known prefix of RFC 6052.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func addrKey(addr netip.Addr, bits4, bits6 int) string {
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	var buf [64]byte
	b := append(buf[:0], "ip:"...)
	bits, whole := bits6, 64
	if addr.Is4() {
		bits, whole = bits4, 32
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
	if bits != whole {
		b = strconv.AppendInt(append(b, '_'), int64(bits), 10)
	}
	return string(b)
}

// By returns a KeyFunc "kind:<id>", such as By("user", …), for requests that id names, and
// fallback's key for those for which it returns "". The kinds differ, so no user name can
// pass for an address.
func By(kind string, id func(*http.Request) string, fallback KeyFunc) KeyFunc {
	return func(r *http.Request) string {
		if s := id(r); s != "" {
			return Key(kind, s)
		}
		return fallback(r)
	}
}

// Hashed returns f with everything after the kind replaced by a keyed hash
// (HMAC-SHA-256), so that no user name and no address lies in Redis. The secret has at least
// 16 random bytes and must be the same in all instances.
func Hashed(f KeyFunc, secret []byte) (KeyFunc, error) {
	if len(secret) < leastSecret {
		return nil, fmt.Errorf("ratelimit: a secret of %d bytes does not hide keys; use at least %d random ones", len(secret), leastSecret)
	}
	secret = append([]byte(nil), secret...)
	return func(r *http.Request) string {
		key := f(r)
		if key == "" {
			return ""
		}
		kind := 0 // a key without a kind is hashed whole
		for i := range len(key) {
			if key[i] == ':' {
				kind = i
				break
			}
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(key))
		if kind == 0 {
			return "k:" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		}
		return key[:kind] + ":k:" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}, nil
}

// leastSecret is the size of a secret that cannot be guessed.
const leastSecret = 16
