package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// TLSMode says how the connection to a mail server is protected.
type TLSMode int

const (
	// TLSAuto is TLSNone on a loopback address, TLSImplicit on port 465, and otherwise
	// TLSStartTLS.
	TLSAuto TLSMode = iota
	// TLSStartTLS upgrades the connection before any data is sent. A server that does
	// not support it is rejected.
	TLSStartTLS
	// TLSImplicit speaks TLS from the first byte.
	TLSImplicit
	// TLSNone sends without encryption. Credentials are then sent to a loopback address
	// only.
	TLSNone
)

// EmailOptions configures an [Email].
type EmailOptions struct {
	// Username and Password log in, with the best mechanism that the server offers:
	// SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN or CRAM-MD5. Default: no login.
	Username, Password string
	// Token returns an OAuth 2.0 access token for Username, for servers that reject
	// passwords, such as Exchange Online and Gmail. It is called for each delivery,
	// with the context of the delivery. A golang.org/x/oauth2 TokenSource caches the
	// token. The login is then XOAUTH2, and Password must be empty. Default: nil.
	Token func(ctx context.Context) (string, error)
	// TLS is the protection of the connection. Default: TLSAuto.
	TLS TLSMode
	// TLSConfig replaces the roots and other settings. Default: the system's roots, TLS
	// 1.2 or newer, and the name of the host.
	TLSConfig *tls.Config
	// Timeout limits one whole delivery, from the name lookup to the last response of
	// the server. Default: 30 s.
	Timeout time.Duration
	// Hello is the name given to the server. Default: the domain of the sender.
	Hello string
	// Logger receives recipients that the server rejected while it accepted others.
	// Default: slog.Default().
	Logger *slog.Logger
}

// Email is a [Notifier] that sends mail through one SMTP server. It keeps no
// connection between messages.
// Mails carry Auto-Submitted and X-Auto-Response-Suppress, so that vacation responders
// send no reply. Their Message-ID is the same when the same message is sent again.
// References put all mails of one [Message.Key] into one thread.
type Email struct {
	host, addr string
	loopback   bool
	from       *mail.Address
	to         []*mail.Address
	opts       EmailOptions
	taken      *taken
	secrets    *redact.Redactor
}

// NewEmail returns an Email that sends through the server at addr, "host:port" or
// "host" (port 587, or 25 without TLS), from one address to at least one. An address
// may have a name: "On Call <oncall@example.org>". NewEmail does not connect.
func NewEmail(addr, from string, to []string, opts *EmailOptions) (*Email, error) {
	e := &Email{taken: &taken{}}
	if opts != nil {
		e.opts = *opts
	}
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, err
	}
	e.host, e.loopback = host, isLoopback(host)
	if e.opts.TLS == TLSAuto {
		switch {
		case port == "465":
			e.opts.TLS = TLSImplicit
		case e.loopback:
			e.opts.TLS = TLSNone
		default:
			e.opts.TLS = TLSStartTLS
		}
	}
	if port == "" {
		switch e.opts.TLS {
		case TLSImplicit:
			port = "465"
		case TLSNone:
			port = "25"
		default:
			port = "587"
		}
	}
	e.addr = net.JoinHostPort(host, port)
	e.secrets = redact.New(e.opts.Password)
	if e.from, err = parseAddress("sender", from); err != nil {
		return nil, err
	}
	for _, recipient := range to {
		parsed, err := parseAddress("recipient", recipient)
		if err != nil {
			return nil, err
		}
		e.to = append(e.to, parsed)
	}
	switch {
	case len(e.to) == 0:
		return nil, errors.New("notify: a mail needs at least one recipient")
	case e.opts.TLS < TLSAuto || e.opts.TLS > TLSNone:
		return nil, fmt.Errorf("notify: unknown TLSMode %d", e.opts.TLS)
	case e.opts.Token != nil && (e.opts.Username == "" || e.opts.Password != ""):
		return nil, errors.New("notify: a login with Token needs Username and no Password")
	case e.opts.Token == nil && (e.opts.Username == "") != (e.opts.Password == ""):
		return nil, errors.New("notify: a login needs both Username and Password")
	case e.opts.Username != "" && e.opts.TLS == TLSNone && !e.loopback:
		return nil, fmt.Errorf("notify: the password for %s would be sent in the clear; use TLS or leave the login out", host)
	case e.opts.Timeout < 0:
		return nil, errors.New("notify: EmailOptions.Timeout is negative")
	}
	e.opts.Timeout = cmp.Or(e.opts.Timeout, 30*time.Second)
	e.opts.Hello = cmp.Or(e.opts.Hello, e.domain())
	if strings.ContainsFunc(e.opts.Hello, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("notify: EmailOptions.Hello is not a host name")
	}
	e.opts.Logger = cmp.Or(e.opts.Logger, slog.Default())
	return e, nil
}

// Notify sends m. It returns nil after the server has accepted m for every recipient
// that it does not reject permanently. A recipient that it rejects permanently (5xx)
// while it accepts others is logged. If it rejects all recipients, that is an error.
//
// A recipient that the server defers (4xx) is an error too. A repetition of the same
// message then goes only to the recipients that do not have it. No error contains the
// password or the token.
//
// A mail that is too large for the server is sent again at once, as a plain text of a
// few KiB.
func (e *Email) Notify(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	ready := m.prepared(time.Now(), e.secrets)
	ctx, cancel := context.WithTimeoutCause(ctx, e.opts.Timeout,
		fmt.Errorf("notify: %s did not finish within %v", e.addr, e.opts.Timeout))
	defer cancel()
	id := ready.id() // also of the short form, because it is the same message
	outcome, err := e.sendMail(ctx, ready, id)
	if isTooLarge(err) && ctx.Err() == nil {
		e.opts.Logger.WarnContext(ctx, "notify: the mail is too large for the server and is sent again as a short text", "server", e.addr, "error", err)
		var second certainty
		if second, err = e.sendMail(ctx, ready.short(), id); second == accepted || outcome == refused {
			outcome = second
		}
	}
	if err != nil && outcome == refused {
		return Refused(m, err)
	}
	return err
}

// sendMail sends a mail. The outcome is refused if no recipient has it.
func (e *Email) sendMail(ctx context.Context, m Message, id string) (certainty, error) {
	msg, err := e.compose(m, id)
	if err != nil {
		return refused, err
	}
	return e.send(ctx, msg, id)
}

// Limits of the short form of a mail.
const (
	maxShortMail   = 32 << 10 // with headers, in quoted-printable encoding
	maxShortText   = 6 << 10
	maxShortFields = 10
	maxShortValue  = 200
)

// short is m without HTML, truncated, for a server that rejects the whole mail as too large.
func (m Message) short() Message {
	m.HTML = ""
	m.Text = truncate(m.Text, maxShortText) + "\n\n[The mail server rejected the whole message as too large. This is its beginning, without HTML.]"
	fields := make([]Field, 0, maxShortFields)
	for _, f := range m.Fields[:min(len(m.Fields), maxShortFields)] {
		fields = append(fields, Field{Name: f.Name, Value: truncate(f.Value, maxShortValue)})
	}
	m.Fields = fields
	return m
}

// compose builds the mail. go-mail encodes non-ASCII characters and accepts every text
// that prepared returns.
func (e *Email) compose(m Message, id string) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(e.from)
	msg.ToMailAddress(e.to...)
	msg.Subject(cmp.Or(m.Topic, m.Subject))
	msg.SetDateWithValue(m.Time)
	msg.SetMessageIDWithValue(id + "@" + e.domain())
	if thread := m.thread(); thread != "" {
		// The first mail of a thread is not known here, and is not needed. Mail
		// programs group mails that refer to the same ancestor, even if that ancestor
		// was never sent.
		root := "<" + thread + ".thread@" + e.domain() + ">"
		msg.SetGenHeader(gomail.HeaderInReplyTo, root)
		msg.SetGenHeader(gomail.HeaderReferences, root)
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	if m.Level == Critical {
		msg.SetImportance(gomail.ImportanceHigh)
	}
	msg.SetBodyString(gomail.TypeTextPlain, m.plain())
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	if _, err := msg.GetRecipients(); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return msg, nil
}

// plain is the whole message as text.
func (m Message) plain() string {
	var b strings.Builder
	if m.Text == "" || m.Topic != "" && m.Topic != m.Subject {
		b.WriteString(m.Subject)
	}
	if m.Text != "" && b.Len() > 0 {
		b.WriteString("\n\n")
	}
	b.WriteString(m.Text)
	if len(m.Fields) > 0 {
		b.WriteString("\n")
		for _, f := range m.Fields {
			b.WriteString("\n" + f.Name + ": " + f.Value)
		}
	}
	if m.Link != "" {
		b.WriteString("\n\n" + m.Link)
	}
	b.WriteString("\n")
	return b.String()
}

func (e *Email) domain() string {
	return e.from.Address[strings.LastIndexByte(e.from.Address, '@')+1:]
}

func splitHostPort(addr string) (host, port string, err error) {
	host, port = strings.Trim(addr, "[]"), ""
	if h, p, err := net.SplitHostPort(addr); err == nil {
		host, port = h, p
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "", fmt.Errorf("notify: %q is not a port of a mail server", port)
		}
	} else if _, err := netip.ParseAddr(host); strings.Contains(host, ":") && err != nil {
		return "", "", fmt.Errorf("notify: the mail server's address %q is not host:port", addr)
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == '@' }) {
		return "", "", fmt.Errorf("notify: the mail server's address %q has no usable host", addr)
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' })
}

func parseAddress(role, s string) (*mail.Address, error) {
	addr, err := mail.ParseAddress(s)
	if err != nil || strings.ContainsFunc(addr.Name+addr.Address, func(r rune) bool { return r < ' ' || r == 0x7f }) ||
		strings.ContainsAny(addr.Address, " <>\"") {
		return nil, fmt.Errorf("notify: the %s %q is not a mail address", role, s)
	}
	if domain := addr.Address[strings.LastIndexByte(addr.Address, '@')+1:]; !isASCII(domain) {
		return nil, fmt.Errorf("notify: the domain of the %s %q has letters that mail servers do not accept; write its ASCII form, xn--…", role, s)
	}
	return addr, nil
}
