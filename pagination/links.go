package pagination

import "github.com/mainstay-go/mainstay/pagination/internal/web"

// Link is a URL in a page. An empty Link ("") is null in JSON.
type Link string

// MarshalJSON writes null for an empty link and does not escape "&". An enclosing
// encoding/json encoder still escapes it unless SetEscapeHTML(false) is set. The Write
// methods of the pages set it.
func (l Link) MarshalJSON() ([]byte, error) {
	if l == "" {
		return []byte("null"), nil
	}
	return web.EncodeJSON(string(l))
}

// Links decides where the links of a page point. The zero value makes absolute links from
// the connection's scheme and the Host header.
type Links struct {
	// Base is the absolute URL before the request's path, such as "https://shop.example"
	// or, if a proxy strips a prefix, "https://shop.example/api". Default: taken from the
	// request.
	Base string
	// TrustedProxies lists the addresses and prefixes (CIDR) of the proxies in front of the
	// service. Only their Forwarded and X-Forwarded-* headers are used. The headers of any
	// other sender are ignored. Default: none.
	TrustedProxies []string
	// AllowedHosts lists the hosts that links may name, without port. ".shop.example" means
	// the domain and all its subdomains. A request for any other host is a 400. A value
	// that is not a valid host is also a 400, with or without this list. Default: any host,
	// so that a client can choose the host of its own links.
	AllowedHosts []string
	// Relative makes links of path and query alone. Default: false.
	Relative bool
	// Headers adds X-Total-Count if the total is known, and a Link header (RFC 8288) with
	// first, prev, next and last, also if there is only one page. Default: false.
	Headers bool
}

func newLinkBase(l *Links) (web.LinkBase, error) { return web.NewLinkBase((*web.Links)(l)) }

// ReplaceQueryParam returns the URL with one query parameter set and all parameters sorted
// by name. Repeated parameters keep their order. Empty parameters and the fragment stay. It
// equals replace_query_param of Django REST Framework, also for pairs that net/url drops
// (?q=%zz, ?a;b=1).
func ReplaceQueryParam(url, name, value string) string {
	return web.RewriteQuery(url, nil, []web.Pair{{Name: name, Value: value}})
}

// RemoveQueryParam returns the URL without one query parameter, under the rules of
// [ReplaceQueryParam].
func RemoveQueryParam(url, name string) string {
	return web.RewriteQuery(url, []string{name}, nil)
}
