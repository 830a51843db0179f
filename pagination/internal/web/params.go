package web

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Params are the parameters that a paginator knows.
type Params struct {
	Own     []string // its own parameters
	Filters []string // the parameters of the filter; nil = all others except those of trackers
}

// NewParams returns the parameters of a paginator. Empty names are none.
func NewParams(filters []string, own ...string) (Params, error) {
	p := Params{Filters: filters, Own: slices.DeleteFunc(own, func(name string) bool { return name == "" })}
	for _, name := range filters {
		if slices.Contains(p.Own, name) {
			return p, fmt.Errorf("pagination: FilterParams has %q, which is a parameter of the paginator itself", name)
		}
	}
	return p, nil
}

// tracker reports a parameter that browsers and mail programs add to links.
func tracker(name string) bool {
	return strings.HasPrefix(name, "utm_") || name == "gclid" || name == "fbclid" || name == "msclkid"
}

// filters reports whether a parameter is part of the filter.
func (p *Params) filters(name string) bool {
	if slices.Contains(p.Own, name) {
		return false
	}
	if p.Filters != nil {
		return slices.Contains(p.Filters, name)
	}
	return !tracker(name)
}

// Ignored returns the names of the sorted pairs that have no effect: unknown parameters, and
// the paginator's own parameters if they are repeated, since the last one counts. rejected
// is the first of them that a strict paginator rejects, and why says the fault. A strict
// paginator accepts the parameters of trackers, since the client did not choose them.
func (p *Params) Ignored(pairs []Pair) (names []string, rejected, why string) {
	for i, pair := range pairs {
		repeated := i > 0 && pairs[i-1].Name == pair.Name
		fault := ""
		switch {
		case slices.Contains(p.Own, pair.Name):
			if repeated {
				fault = "The parameter must not be repeated."
			}
		case !p.filters(pair.Name):
			fault = "The list has no such parameter."
		}
		if fault == "" {
			continue
		}
		if rejected == "" && !tracker(pair.Name) {
			rejected, why = pair.Name, fault
		}
		if !slices.Contains(names, pair.Name) {
			names = append(names, pair.Name)
		}
	}
	return names, rejected, why
}

// Filter appends the encoded pairs of the filter. The pairs are sorted.
func (p *Params) Filter(dst []byte, pairs []Pair) []byte {
	for _, pair := range pairs {
		if p.filters(pair.Name) {
			dst = appendPair(dst, len(dst) > 0, pair)
		}
	}
	return dst
}

// WriteIgnored names the ignored parameters in a header: the first 100 bytes of at most ten
// names, escaped as in a query.
func WriteIgnored(h http.Header, names []string) {
	var list []byte
	for i, name := range names[:min(len(names), 10)] {
		if i > 0 {
			list = append(list, ", "...)
		}
		list = appendEscaped(list, name[:min(len(name), 100)])
	}
	if len(list) > 0 {
		h.Set("X-Ignored-Parameters", string(list))
	}
}

// CountKey returns the key of a remembered count. All pages, orders and formats of one
// filtered list share a key. Another resource, tenant or filter has another key. The key
// has a fixed length because it depends on data from the client.
func CountKey(resource, scope string, filter []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%d:%s", len(resource), resource, len(scope), scope)
	h.Write(filter)
	return "pagination:count:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
