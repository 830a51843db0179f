// Package trustedproxy finds the client of a request behind reverse proxies, and the address
// with which the client addressed this server.
//
// Forwarding headers can be forged. The package reads them only if the peer of the connection
// is a proxy that the operator configured. It reads them from right to left, because each proxy
// appends what it received and the client wrote everything further left. If a part does not
// parse, the package returns no address. A wrong address would give an attacker the identity of
// another client, or a new identity for each request.
package trustedproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
)

// Proxies has the trusted peers and the header that they set. The zero value trusts no peer:
// the peer of the connection is the client. Proxies is safe for concurrent use.
type Proxies struct {
	prefixes []netip.Prefix
	unix     bool
	header   string // canonical; empty means X-Forwarded-For
}

const (
	xForwardedFor = "X-Forwarded-For"
	forwarded     = "Forwarded"
)

// Parse reads addresses ("10.0.0.7"), prefixes ("10.0.0.0/8", "fd00::/8") and the word "unix",
// which means every peer on a unix socket. Each argument may contain several, separated by
// commas or white space. The proxies must append to X-Forwarded-For; see [Proxies.Using] for
// other headers.
func Parse(cidrs ...string) (Proxies, error) {
	var p Proxies
	for _, arg := range cidrs {
		for s := range strings.FieldsFuncSeq(arg, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
			if s == "unix" {
				p.unix = true
				continue
			}
			prefix, err := parsePrefix(s)
			if err != nil {
				return Proxies{}, err
			}
			p.prefixes = append(p.prefixes, prefix)
		}
	}
	return p, nil
}

// Widest returns the prefix that trusts the largest share of IPv4 or IPv6, and false if there is
// no prefix.
func (p Proxies) Widest() (widest netip.Prefix, ok bool) {
	for _, prefix := range p.prefixes {
		if !ok || prefix.Bits() < widest.Bits() {
			widest, ok = prefix, true
		}
	}
	return widest, ok
}

func parsePrefix(s string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		if a := prefix.Addr(); a.Is4In6() {
			if prefix.Bits() < 96 {
				return netip.Prefix{}, fmt.Errorf("trustedproxy: %q covers more than the IPv4 addresses it is written as; write it as an IPv4 prefix", s)
			}
			prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
		}
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("trustedproxy: %q is neither an address, a prefix such as 10.0.0.0/8, nor the word unix", s)
	}
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// Using returns proxies that set another header: "Forwarded" (RFC 7239), or a header with one
// address that the proxy overwrites, such as "CF-Connecting-IP" or "X-Real-IP". Only that
// header is read. Proxies pass unknown headers on, so a client controls the others.
func (p Proxies) Using(header string) (Proxies, error) {
	name := textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(header))
	if name == "" || strings.ContainsAny(name, " \t\r\n:,") {
		return Proxies{}, fmt.Errorf("trustedproxy: %q is not a header name", header)
	}
	if name == "X-Forwarded" || name == "Via" || name == "X-Forwarded-Host" || name == "X-Forwarded-Proto" {
		return Proxies{}, errors.New("trustedproxy: " + name + " carries no client address; name the header that does")
	}
	p.header = name
	if name == xForwardedFor {
		p.header = ""
	}
	return p, nil
}

// Trusts reports whether addr is one of the proxies.
func (p Proxies) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddr returns the address of the client, IPv4 in its four-byte form and without an IPv6
// zone. It returns false without an address: the connection came through an untrusted unix
// socket, or the necessary part of a trusted proxy's chain does not parse.
func (p Proxies) ClientAddr(r *http.Request) (netip.Addr, bool) {
	addr, _, ok := p.walk(r)
	return addr, ok
}

// walk returns the client and the number of trusted hops between it and this server.
func (p Proxies) walk(r *http.Request) (client netip.Addr, hops int, ok bool) {
	peer, isAddr := peerAddr(r.RemoteAddr)
	switch {
	case isAddr && !p.Trusts(peer):
		return peer, 0, true
	case !isAddr && (!p.unix || !isUnix(r.RemoteAddr)):
		return netip.Addr{}, 0, false
	}
	switch p.header {
	case "":
		return p.walkList(r.Header[xForwardedFor], peer, func(s string) (netip.Addr, bool) { return parseNode(s) })
	case forwarded:
		return p.walkForwarded(r.Header[forwarded], peer)
	}
	values := r.Header[p.header]
	if len(values) == 0 {
		return peer, 1, peer.IsValid()
	}
	if len(values) > 1 {
		return netip.Addr{}, 1, false // the proxy overwrites, so two values mean that it did not
	}
	client, ok = parseNode(strings.TrimSpace(values[0]))
	return client, 1, ok
}

// walkList reads comma-separated lists, last line first, last item first.
func (p Proxies) walkList(lines []string, peer netip.Addr, parse func(string) (netip.Addr, bool)) (netip.Addr, int, bool) {
	client, hops := peer, 1
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for more := true; more; {
			var item string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, item = rest[:comma], rest[comma+1:]
			} else {
				item, more = rest, false
			}
			addr, ok := parse(strings.Trim(item, " \t"))
			if !ok {
				return netip.Addr{}, hops, false
			}
			if client = addr; !p.Trusts(addr) {
				return client, hops, true
			}
			hops++
		}
	}
	return client, hops, client.IsValid()
}

func (p Proxies) walkForwarded(lines []string, peer netip.Addr) (netip.Addr, int, bool) {
	client, hops := peer, 1
	for i := len(lines) - 1; i >= 0; i-- {
		elements, ok := parseForwarded(lines[i])
		if !ok {
			return netip.Addr{}, hops, false
		}
		for j := len(elements) - 1; j >= 0; j-- {
			addr, ok := parseNode(elements[j].node)
			if !ok {
				return netip.Addr{}, hops, false
			}
			if client = addr; !p.Trusts(addr) {
				return client, hops, true
			}
			hops++
		}
	}
	return client, hops, client.IsValid()
}

// peerAddr reads http.Request.RemoteAddr, which the server sets.
func peerAddr(remote string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddr(remote); err == nil {
		return a.Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// isUnix reports whether RemoteAddr has the form that net/http uses for a unix socket.
func isUnix(remote string) bool {
	return remote == "" || remote[0] == '@' || remote[0] == '/'
}

// parseNode reads an address with or without a port, IPv6 with or without brackets. It refuses
// names, "unknown" and RFC 7239's obfuscated nodes.
func parseNode(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		a, err := netip.ParseAddr(s[1 : len(s)-1])
		return a.Unmap().WithZone(""), err == nil && a.Is6()
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr().Unmap().WithZone(""), err == nil
}
