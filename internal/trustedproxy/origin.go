package trustedproxy

import (
	"net/http"
	"strings"
)

// Origin returns the scheme and host with which the client addressed this server, and the path
// prefix that a proxy removed ("" or "/shop", without a slash at its end). Without a trusted
// peer the values come from the connection. Each forwarded value that is not a plain scheme,
// host or path is ignored, so a client's header cannot make links leave the site.
//
// With Forwarded, scheme and host come from that header. Otherwise they come from
// X-Forwarded-Proto and X-Forwarded-Host. The prefix always comes from X-Forwarded-Prefix. A
// trusted proxy must therefore set or remove those headers.
func (p Proxies) Origin(r *http.Request) (scheme, host, prefix string) {
	scheme, host = "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	peer, isAddr := peerAddr(r.RemoteAddr)
	if isAddr && !p.Trusts(peer) || !isAddr && (!p.unix || !isUnix(r.RemoteAddr)) {
		return scheme, host, ""
	}
	_, hops, _ := p.walk(r)
	var proto, forHost string
	if p.header == forwarded {
		e, ok := elementAt(r.Header[forwarded], hops)
		if ok {
			proto, forHost = e.proto, e.host
		}
	} else {
		proto = valueAt(r.Header["X-Forwarded-Proto"], hops)
		forHost = valueAt(r.Header["X-Forwarded-Host"], hops)
	}
	if s := strings.ToLower(proto); s == "http" || s == "https" {
		scheme = s
	}
	if validHost(forHost) {
		host = forHost
	}
	if s := strings.TrimRight(valueAt(r.Header["X-Forwarded-Prefix"], hops), "/"); validPrefix(s) {
		prefix = s
	}
	return scheme, host, prefix
}

// valueAt returns the value of the outermost trusted proxy. A chain of proxies either appends
// one item for each hop, or overwrites. A list with fewer items than hops means that it
// overwrites.
func valueAt(lines []string, hops int) string {
	for i := len(lines) - 1; i >= 0; i-- {
		items := strings.Split(lines[i], ",")
		if n := len(items); hops <= n || i == 0 {
			return strings.Trim(items[max(n-hops, 0)], " \t")
		}
		hops -= len(items)
	}
	return ""
}

func elementAt(lines []string, hops int) (element, bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		elements, ok := parseForwarded(lines[i])
		if !ok {
			return element{}, false
		}
		if n := len(elements); hops <= n || i == 0 {
			return elements[max(n-hops, 0)], true
		}
		hops -= len(elements)
	}
	return element{}, false
}

func validHost(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_:[]", c) >= 0) {
			return false
		}
	}
	return true
}

func validPrefix(s string) bool {
	if s == "" || s[0] != '/' || len(s) > 255 || strings.HasPrefix(s, "//") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-._~", c) >= 0) {
			return false
		}
	}
	return !strings.Contains(s, "/../") && !strings.HasSuffix(s, "/..")
}
