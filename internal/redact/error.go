package redact

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Error returns the text of an error like Text. It first rebuilds errors of known types from
// their harmless parts. A url.Error keeps the host and loses path, query and user. An error
// about a text that does not parse loses that text.
func (r *Redactor) Error(err error, limit int) string {
	if err == nil {
		return ""
	}
	return r.Text(safeText(err), limit)
}

// safeText returns the text of an error, with safe texts for known inner errors.
func safeText(err error) string {
	text := err.Error()
	for _, inner := range children(err) {
		raw := inner.Error()
		if safe := safeText(inner); safe != raw && raw != "" {
			text = strings.ReplaceAll(text, raw, safe)
		}
	}
	return safeSelf(err, text)
}

func children(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked node by node
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// safeSelf rebuilds an error of a known type. text is its text with safe inner errors.
func safeSelf(err error, text string) string {
	switch e := err.(type) { //nolint:errorlint // as above
	case *url.Error:
		return e.Op + ` "` + safeURL(e.URL) + `": ` + safeText(e.Err)
	case url.EscapeError:
		return "invalid URL escape"
	case url.InvalidHostError:
		return "invalid character in a host name"
	case *strconv.NumError:
		return "strconv." + e.Func + `: parsing "` + Hidden + `": ` + e.Err.Error()
	case *time.ParseError:
		return "cannot parse a time"
	case *net.AddrError:
		return e.Err
	case *net.ParseError:
		return "invalid " + e.Type
	case *net.DNSError:
		if strings.ContainsAny(e.Name, "@:/ ") {
			return "lookup " + Hidden + ": " + e.Err
		}
	}
	return text
}

// safeURL returns the scheme and the host of a URL.
func safeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		scheme, _, ok := strings.Cut(raw, "://")
		if !ok || len(scheme) > 12 {
			return Hidden
		}
		return scheme + "://" + Hidden
	}
	return u.Scheme + "://" + u.Host
}
