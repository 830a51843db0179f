package pagination

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/internal/trustedproxy"
)

// Link is a URL in a page, null in JSON when there is none ("").
type Link string

// MarshalJSON writes null for an empty link and leaves "&" alone. An encoding/json
// encoder above it escapes "&" all the same unless SetEscapeHTML(false) is set; the
// Write methods of the pages set it.
func (l Link) MarshalJSON() ([]byte, error) {
	if l == "" {
		return []byte("null"), nil
	}
	return encodeJSON(string(l))
}

// Links says where the links of a page point. The zero value makes absolute links from
// the connection's scheme and the Host header.
type Links struct {
	// Base is the absolute URL that stands before the request's path, such as
	// "https://shop.example" or, if a proxy strips a prefix, "https://shop.example/api".
	// Default: taken from the request.
	Base string
	// TrustedProxies lists the addresses and prefixes (CIDR) of the proxies in front of
	// the service. Forwarded and X-Forwarded-* are read from them alone; from anybody
	// else they are ignored. Default: none.
	TrustedProxies []string
	// AllowedHosts lists the hosts that links may name, without port; ".shop.example"
	// means the domain and all below it. A request for another answers 400, and so does
	// one for what is no host, with or without this list. Default: any host, which lets a
	// client choose the host of its own links.
	AllowedHosts []string
	// Relative makes links of path and query alone. Default: false.
	Relative bool
	// Headers adds a Link header (RFC 8288) with first, prev, next and last, also on
	// one-page answers, and X-Total-Count where the total is known. Default: false.
	Headers bool
}

// linkBase is Links, checked once.
type linkBase struct {
	base     string
	proxies  trustedproxy.Proxies
	allowed  []string
	relative bool
	headers  bool
}

func newLinkBase(l *Links) (linkBase, error) {
	if l == nil {
		return linkBase{}, nil
	}
	b := linkBase{base: strings.TrimSuffix(l.Base, "/"), relative: l.Relative, headers: l.Headers}
	if l.Base != "" {
		u, err := url.Parse(l.Base)
		if err != nil || u.Scheme == "" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return b, errors.New(`pagination: Links.Base must be an absolute URL without query, such as "https://shop.example"`)
		}
	}
	if l.Base != "" && (l.Relative || len(l.TrustedProxies) > 0 || len(l.AllowedHosts) > 0) {
		return b, errors.New("pagination: Links.Base settles scheme and host; leave Relative, TrustedProxies and AllowedHosts empty")
	}
	var err error
	b.proxies, err = trustedproxy.Parse(l.TrustedProxies...)
	if err != nil {
		return b, err
	}
	for _, host := range l.AllowedHosts {
		b.allowed = append(b.allowed, strings.ToLower(host))
	}
	return b, nil
}

// prefix returns what stands before the "?" of every link of a request.
func (b *linkBase) prefix(r *http.Request, strict bool) (string, error) {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		// "//evil.example" alone would be a link to another host.
		path = "/" + strings.TrimLeft(path, "/")
	}
	switch {
	case b.relative:
		return path, nil
	case b.base != "":
		return b.base + path, nil
	}
	scheme, host, prefix := b.proxies.Origin(r)
	reason := ""
	switch name, ok := hostname(host); {
	case !ok:
		reason = "host is not a name or an address"
	case len(b.allowed) > 0 && !slices.ContainsFunc(b.allowed, matches(name)):
		reason = "host is not in AllowedHosts"
	case host == "": // HTTP/1.0
		return prefix + path, nil
	}
	if reason != "" {
		return "", &RequestError{
			Status: http.StatusBadRequest, Detail: "Invalid host.",
			problem: strict, kind: ErrInvalidParameter, reason: reason,
		}
	}
	return scheme + "://" + host + prefix + path, nil
}

// hostname cuts the port off a host and reports whether it is one. net/http takes anything
// for one over HTTP/2: "evil.example/.shop.example" would be below .shop.example, and a
// link to somewhere else.
func hostname(host string) (name string, ok bool) {
	name = host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		if strings.Trim(host[i+1:], "0123456789") != "" {
			return "", false
		}
		name = host[:i]
	}
	name = strings.ToLower(name)
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return inner, ok && strings.Trim(inner, "0123456789abcdef:.") == ""
	}
	for _, c := range []byte(name) {
		if !unreserved[c] || c == '~' {
			return "", false
		}
	}
	return name, true
}

func matches(host string) func(string) bool {
	return func(allowed string) bool {
		if domain, ok := strings.CutPrefix(allowed, "."); ok {
			return host == domain || strings.HasSuffix(host, allowed)
		}
		return host == allowed
	}
}

// linker writes the links of one request.
type linker struct {
	prefix string
	pairs  []pair
}

func newLinker(b *linkBase, r *http.Request, strict bool) (linker, error) {
	prefix, err := b.prefix(r, strict)
	if err != nil {
		return linker{}, err
	}
	return linker{prefix: prefix, pairs: sortedPairs(r.URL.RawQuery)}, nil
}

// link returns the request's URL with some parameters dropped and others set, which
// must be sorted by name.
func (l *linker) link(drop []string, set ...pair) Link {
	size := len(l.prefix) + 16
	for _, p := range l.pairs {
		size += len(p.name) + len(p.value) + 8
	}
	for _, p := range set {
		size += len(p.name) + len(p.value) + 8
	}
	out := append(make([]byte, 0, size), l.prefix...)
	out = append(out, '?')
	mark := len(out)
	out = appendQuery(out, l.pairs, drop, set)
	if len(out) == mark {
		out = out[:mark-1]
	}
	return Link(out)
}

// headerLinks are the relations of a Link header.
type headerLinks struct{ first, prev, next, last Link }

// write adds the Link header of RFC 8288. A link holds no ">": everything outside the
// unreserved characters is percent-encoded in the query, and the path is an escaped one.
func (h headerLinks) write(header http.Header) {
	var b strings.Builder
	for _, l := range []struct {
		url Link
		rel string
	}{{h.first, "first"}, {h.prev, "prev"}, {h.next, "next"}, {h.last, "last"}} {
		if l.url == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString("<" + string(l.url) + `>; rel="` + l.rel + `"`)
	}
	header.Add("Link", b.String())
}
