package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mainstay-go/mainstay/internal/trustedproxy"
)

// Links are the settings of links. The fields are those of pagination.Links.
type Links struct {
	Base           string
	TrustedProxies []string
	AllowedHosts   []string
	Relative       bool
	Headers        bool
}

// LinkBase holds checked Links.
type LinkBase struct {
	base     string
	proxies  trustedproxy.Proxies
	allowed  []string
	relative bool
	Headers  bool
}

// NewLinkBase checks the settings. nil is the same as the zero value.
func NewLinkBase(l *Links) (LinkBase, error) {
	if l == nil {
		return LinkBase{}, nil
	}
	b := LinkBase{base: strings.TrimSuffix(l.Base, "/"), relative: l.Relative, Headers: l.Headers}
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
		name, ok := allowedHost(strings.ToLower(host))
		if !ok {
			return b, fmt.Errorf(`pagination: AllowedHosts has %q, which no request can name; write a host without scheme and port, or ".shop.example" with its subdomains`, host)
		}
		b.allowed = append(b.allowed, name)
	}
	return b, nil
}

// allowedHost returns a host in the form that matches compares, or false if no request can
// have it.
func allowedHost(host string) (string, bool) {
	if address := strings.Trim(host, "[]"); strings.Contains(address, ":") {
		_, err := netip.ParseAddr(address)
		return address, err == nil
	}
	name, ok := hostname(strings.TrimPrefix(host, "."))
	return host, ok && name != ""
}

// prefix returns the part before the "?" of every link of a request, or the reason why the
// host of the request is rejected.
func (b *LinkBase) prefix(r *http.Request) (prefix, reason string) {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		// "//evil.example" alone would be a link to another host.
		path = "/" + strings.TrimLeft(path, "/")
	}
	switch {
	case b.relative:
		return path, ""
	case b.base != "":
		return b.base + path, ""
	}
	scheme, host, prefix := b.proxies.Origin(r)
	switch name, ok := hostname(host); {
	case !ok:
		reason = "host is not a name or an address"
	case len(b.allowed) > 0 && !slices.ContainsFunc(b.allowed, matches(name)):
		reason = "host is not in AllowedHosts"
	case host == "": // HTTP/1.0
		return prefix + path, ""
	}
	if reason != "" {
		return "", reason
	}
	return scheme + "://" + host + prefix + path, ""
}

// hostname removes the port from a host and reports whether the host is valid. net/http
// accepts any text as a host over HTTP/2: "evil.example/.shop.example" would be below
// .shop.example, and a link to another site.
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

// Linker writes the links of one request.
type Linker struct {
	prefix string
	Pairs  []Pair // the parameters of the request, sorted by name
}

// NewLinker returns the linker of a request, or the reason why its host is rejected.
func NewLinker(b *LinkBase, r *http.Request) (l Linker, reason string) {
	prefix, reason := b.prefix(r)
	if reason != "" {
		return Linker{}, reason
	}
	return Linker{prefix: prefix, Pairs: SortedPairs(r.URL.RawQuery)}, ""
}

// Link returns the request's URL with some parameters dropped and others set. The set
// parameters must be sorted by name.
func (l *Linker) Link(drop []string, set ...Pair) string {
	size := len(l.prefix) + 16
	for _, p := range l.Pairs {
		size += len(p.Name) + len(p.Value) + 8
	}
	for _, p := range set {
		size += len(p.Name) + len(p.Value) + 8
	}
	out := append(make([]byte, 0, size), l.prefix...)
	out = append(out, '?')
	mark := len(out)
	out = AppendQuery(out, l.Pairs, drop, set)
	if len(out) == mark {
		out = out[:mark-1]
	}
	return string(out)
}

// Frame returns the text before and behind the value of a parameter in the links of a
// request. It is for several links whose values need no escape.
func (l *Linker) Frame(name string) (before, behind string) {
	size := len(l.prefix) + len(name) + 16
	for _, p := range l.Pairs {
		size += len(p.Name) + len(p.Value) + 8
	}
	out := append(append(make([]byte, 0, size), l.prefix...), '?')
	start, value := len(out), 0
	for i := 0; i <= len(l.Pairs); i++ {
		if value == 0 && (i == len(l.Pairs) || l.Pairs[i].Name >= name) {
			out = appendPair(out, len(out) > start, Pair{Name: name})
			value = len(out)
		}
		if i < len(l.Pairs) && l.Pairs[i].Name != name {
			out = appendPair(out, len(out) > start, l.Pairs[i])
		}
	}
	text := string(out)
	return text[:value], text[value:]
}

// HeaderLinks are the relations of a Link header.
type HeaderLinks struct{ First, Prev, Next, Last string }

// Write adds the Link header of RFC 8288. A link never contains ">": the query is
// percent-encoded except for unreserved characters, and the path is escaped.
func (h HeaderLinks) Write(header http.Header) {
	var b strings.Builder
	for _, l := range []struct {
		url string
		rel string
	}{{h.First, "first"}, {h.Prev, "prev"}, {h.Next, "next"}, {h.Last, "last"}} {
		if l.url == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString("<" + l.url + `>; rel="` + l.rel + `"`)
	}
	header.Add("Link", b.String())
}

// EncodeJSON encodes without the HTML escapes of encoding/json, whose \u0026 makes links
// unreadable.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Refused is an error whose response has been written.
type Refused struct{ error }

// Unwrap returns the error.
func (r Refused) Unwrap() error { return r.error }

// WriteJSON responds 200. It encodes the value before it writes the first byte. If that
// fails, refuse responds, and the error is a Refused.
func WriteJSON(w http.ResponseWriter, v any, refuse func(http.ResponseWriter, error)) error {
	return WriteAs(w, "application/json", v, refuse)
}

// WriteAs is WriteJSON with another media type.
func WriteAs(w http.ResponseWriter, mediaType string, v any, refuse func(http.ResponseWriter, error)) error {
	data, err := EncodeJSON(v)
	if err != nil {
		refuse(w, err)
		return Refused{err}
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, err = w.Write(data)
	return err
}
