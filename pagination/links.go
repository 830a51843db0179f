package pagination

import "github.com/mainstay-go/mainstay/pagination/internal/web"

// Link is a URL in a page, null in JSON when there is none ("").
type Link string

// MarshalJSON writes null for an empty link and leaves "&" alone. An encoding/json
// encoder above it escapes "&" all the same unless SetEscapeHTML(false) is set; the
// Write methods of the pages set it.
func (l Link) MarshalJSON() ([]byte, error) {
	if l == "" {
		return []byte("null"), nil
	}
	return web.EncodeJSON(string(l))
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

func newLinkBase(l *Links) (web.LinkBase, error) { return web.NewLinkBase((*web.Links)(l)) }

// ReplaceQueryParam returns the URL with one query parameter set and all parameters
// sorted by name. Repeated parameters keep their order, and empty ones and the fragment
// stay. It equals replace_query_param of Django REST Framework, also for pairs that
// net/url drops (?q=%zz, ?a;b=1).
func ReplaceQueryParam(url, name, value string) string {
	return web.RewriteQuery(url, nil, []web.Pair{{Name: name, Value: value}})
}

// RemoveQueryParam returns the URL without one query parameter, under the rules of
// [ReplaceQueryParam].
func RemoveQueryParam(url, name string) string {
	return web.RewriteQuery(url, []string{name}, nil)
}
