package notify

import (
	"fmt"
	"net"
	"net/url"
)

const smtpURLForm = "smtp://user:password@host:587?from=a@example.org&to=b@example.org"

// NewEmailFromURL returns an [Email] for one line of configuration:
//
//	smtp://user:password@host:587?from=a@example.org&to=b@example.org&to=c@example.org
//
// The scheme smtps means TLS from the first byte. The parameter from is required once,
// and to at least once. tls is "starttls", "implicit" or "none". If it is missing,
// [TLSAuto] decides. Special characters of the password are percent-encoded. The URL
// overrides the fields of opts that it sets. opts may be nil. No error repeats the URL,
// because it contains a password.
func NewEmailFromURL(rawURL string, opts *EmailOptions) (*Email, error) {
	u, err := url.Parse(rawURL)
	if err != nil { // its text would repeat the URL
		return nil, fmt.Errorf("notify: the mail server's URL cannot be read; write %s and percent-encode special characters of the password", smtpURLForm)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("notify: the parameters of the mail server's URL cannot be read; write %s", smtpURLForm)
	}
	var o EmailOptions
	if opts != nil {
		o = *opts
	}
	switch u.Scheme {
	case "smtp":
	case "smtps":
		o.TLS = TLSImplicit
	default:
		return nil, fmt.Errorf("notify: the mail server's URL begins with neither smtp:// nor smtps://; write %s", smtpURLForm)
	}
	if u.Hostname() == "" || u.Opaque != "" || (u.Path != "" && u.Path != "/") || u.Fragment != "" {
		return nil, fmt.Errorf("notify: the mail server's URL is not of the form %s", smtpURLForm)
	}
	for name, values := range query {
		switch name {
		case "from", "tls":
			if len(values) > 1 {
				return nil, fmt.Errorf("notify: the mail server's URL has %d parameters %q, and one is allowed", len(values), name)
			}
		case "to":
		default:
			return nil, fmt.Errorf("notify: the mail server's URL has an unknown parameter %q; known are from, to and tls", name)
		}
	}
	switch mode := query.Get("tls"); mode {
	case "":
	case "starttls":
		o.TLS = TLSStartTLS
	case "implicit":
		o.TLS = TLSImplicit
	case "none":
		o.TLS = TLSNone
	default:
		return nil, fmt.Errorf("notify: tls=%q in the mail server's URL; use starttls, implicit or none", mode)
	}
	if u.Scheme == "smtps" && o.TLS != TLSImplicit {
		return nil, fmt.Errorf("notify: tls=%q contradicts smtps:// in the mail server's URL; write smtp://", query.Get("tls"))
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	addr := u.Hostname()
	if u.Port() != "" {
		addr = net.JoinHostPort(u.Hostname(), u.Port())
	}
	return NewEmail(addr, query.Get("from"), query["to"], &o)
}
