package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// goodbye is how long a server may take to respond to QUIT.
const goodbye = 2 * time.Second

// send sends msg to the server. go-mail's own client applies the context only to the
// dial, and fails for all recipients when one is rejected. So this method holds the
// dialogue, with go-mail's protocol package.
func (e *Email) send(ctx context.Context, msg *gomail.Msg, id string) (certainty, error) {
	d := dialogue{Email: e, stage: "connecting", outcome: refused}
	err := d.run(ctx, msg, id)
	if err == nil {
		return accepted, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the error of the closed connection is less precise
	}
	large := isTooLarge(err)
	err = fmt.Errorf("notify: mail through %s: %s: %w", e.addr, d.stage, e.reply(err))
	if large {
		err = &tooLargeError{err}
	}
	return d.outcome, err
}

// dialogue is one connection to the server. stage names its present step, for errors.
// outcome is refused until a recipient may have the mail.
type dialogue struct {
	*Email
	client  *smtp.Client
	stage   string
	outcome certainty
}

func (d *dialogue) run(ctx context.Context, msg *gomail.Msg, id string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The end of the context closes the connection in every state.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := d.open(ctx, conn); err != nil {
		return err
	}
	size, err := d.sender(msg)
	if err != nil {
		return err
	}
	d.stage = "recipients"
	have := d.taken.has(id)
	if len(have) > 0 {
		d.outcome = unknown // they have it from an earlier attempt
	}
	took, deferred, err := d.recipients(ctx, d.client, have)
	if err != nil {
		return err
	}
	if took == 0 { // every recipient that can have the mail has it
		d.quit()
		return deferred
	}
	d.stage = "content"
	if err := d.content(msg, size); err != nil {
		return err
	}
	d.quit() // the server has accepted the mail
	if deferred == nil {
		return nil
	}
	d.taken.add(id, have)
	d.stage = "recipients"
	return deferred
}

// open greets the server, secures the connection and logs in.
func (d *dialogue) open(ctx context.Context, conn net.Conn) (err error) {
	if d.opts.TLS == TLSImplicit {
		conn = tls.Client(conn, d.tlsConfig())
	}
	d.stage = "greeting"
	if d.client, err = smtp.NewClient(conn, d.host); err != nil {
		return err
	}
	if err := d.client.Hello(d.opts.Hello); err != nil {
		return err
	}
	if d.opts.TLS == TLSStartTLS {
		d.stage = "STARTTLS"
		if ok, _ := d.client.Extension("STARTTLS"); !ok {
			return errors.New("the server does not offer it; nothing was sent (for a trusted local server turn TLS off)")
		}
		if err := d.client.StartTLS(d.tlsConfig()); err != nil {
			return err
		}
	}
	if d.opts.Username == "" {
		return nil
	}
	d.stage = "login"
	return d.login(ctx, d.client)
}

// sender begins the mail, unless the server announces that it accepts no mail of this size. It
// returns the size.
func (d *dialogue) sender(msg *gomail.Msg) (size int64, err error) {
	d.stage = "sender"
	if ok, _ := d.client.Extension("SMTPUTF8"); !ok && !isASCII(d.from.Address) {
		return 0, errNotASCII
	}
	if size, err = msg.WriteTo(io.Discard); err != nil {
		return 0, err
	}
	if limit := sizeLimit(d.client); limit > 0 && size > limit {
		d.quit()
		return 0, &tooLargeError{fmt.Errorf("the mail has %d bytes, and the server accepts %d", size, limit)}
	}
	return size, tooLarge(d.client.Mail("<" + d.from.Address + ">"))
}

// content sends the mail to the accepted recipients.
func (d *dialogue) content(msg *gomail.Msg, size int64) error {
	w, err := d.client.Data()
	if err != nil {
		return err
	}
	before := d.outcome
	d.outcome = unknown
	if _, err = msg.WriteTo(w); err == nil {
		err = w.Close()
	}
	var protocol *textproto.Error
	if errors.As(err, &protocol) { // the server responded that it does not accept the mail
		d.outcome = before
	}
	if err != nil && size > maxShortMail && !errors.As(err, &protocol) {
		// Some servers close the connection in the middle of a mail that is too large.
		return &tooLargeError{err}
	}
	return tooLarge(err)
}

// quit ends the dialogue. The result does not matter.
func (d *dialogue) quit() {
	_ = d.client.UpdateDeadline(goodbye)
	_ = d.client.Quit()
}

// tooLargeError is the error of a server that may accept a smaller mail.
type tooLargeError struct{ error }

func (e *tooLargeError) Unwrap() error { return e.error }

func isTooLarge(err error) bool {
	var large *tooLargeError
	return errors.As(err, &large)
}

// tooLarge marks a response that rejects the size of the mail: 552, or an enhanced code for
// "message length exceeds limit" or "message too big" (RFC 3463). 552 is also the response
// of a full mailbox, to which a short mail may still be delivered.
func tooLarge(err error) error {
	var protocol *textproto.Error
	if errors.As(err, &protocol) && (protocol.Code == 552 || protocol.Code/100 == 5 &&
		(strings.HasPrefix(protocol.Msg, "5.2.3") || strings.HasPrefix(protocol.Msg, "5.3.4"))) {
		return &tooLargeError{err}
	}
	return err
}

// sizeLimit is the limit that the server announces (RFC 1870), or 0.
func sizeLimit(client *smtp.Client) int64 {
	_, text := client.Extension("SIZE")
	limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || limit < 0 {
		return 0
	}
	return limit
}

var errNotASCII = errors.New("the address is not ASCII, and the server does not offer SMTPUTF8")

// recipients sends the server the recipients that do not have the mail, and adds the
// accepted ones to have. deferred names recipients that the server may accept later.
// The error means that no recipient has the mail.
func (e *Email) recipients(ctx context.Context, client *smtp.Client, have map[int]bool) (took int, deferred, err error) {
	var refused, later []error
	utf8, _ := client.Extension("SMTPUTF8")
	for i, to := range e.to {
		if have[i] {
			continue
		}
		if !isASCII(to.Address) && !utf8 {
			refused = append(refused, fmt.Errorf("%s: %w", to.Address, errNotASCII))
			continue
		}
		err := client.Rcpt("<" + to.Address + ">")
		if err == nil {
			have[i] = true
			took++
			continue
		}
		var protocol *textproto.Error
		if !errors.As(err, &protocol) {
			return 0, nil, err // the connection is gone
		}
		err = fmt.Errorf("%s: %w", to.Address, e.reply(err))
		if protocol.Code/100 == 4 {
			later = append(later, err)
		} else {
			refused = append(refused, err)
		}
	}
	// The errors are joined as text. Otherwise the first rejection would count as the
	// whole error.
	joined := func(errs []error) error {
		return errors.New(strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
	}
	if took == 0 && len(have) == 0 {
		return 0, nil, joined(append(later, refused...))
	}
	for _, err := range refused {
		e.opts.Logger.WarnContext(ctx, "notify: the mail server refused a recipient", "server", e.addr, "error", e.secrets.Error(err, 1000))
	}
	if len(later) > 0 {
		return took, joined(later), nil
	}
	return took, nil, nil
}

func (e *Email) login(ctx context.Context, client *smtp.Client) error {
	if e.opts.Token != nil {
		token, err := e.opts.Token(ctx)
		if err != nil {
			return fmt.Errorf("no token: %w", err)
		}
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("EmailOptions.Token returned no usable token")
		}
		err = client.Auth(smtp.XOAuth2Auth(e.opts.Username, token))
		var protocol *textproto.Error
		if errors.As(err, &protocol) { // a server may return the text that it received
			return &textproto.Error{Code: protocol.Code, Msg: redact.New(token).Text(protocol.Msg, 300)}
		}
		return err
	}
	_, offered := client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	user, password := e.opts.Username, e.opts.Password
	for _, m := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(user, password)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(user, password)},
		{"PLAIN", smtp.PlainAuth("", user, password, e.host, e.loopback)},
		{"LOGIN", smtp.LoginAuth(user, password, e.host, e.loopback)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(user, password)},
	} {
		for _, offer := range mechanisms {
			if offer == m.name {
				return client.Auth(m.auth)
			}
		}
	}
	return fmt.Errorf("the server offers no login that is known here (%s)", cmp.Or(oneLine(offered, 100), "none"))
}

func (e *Email) tlsConfig() *tls.Config {
	c := e.opts.TLSConfig.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	c.ServerName = cmp.Or(c.ServerName, e.host)
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// reply makes an error of the server safe to log: one line of limited length, without
// the password.
func (e *Email) reply(err error) error {
	var protocol *textproto.Error
	if errors.As(err, &protocol) {
		return &textproto.Error{Code: protocol.Code, Msg: e.secrets.Text(oneLine(protocol.Msg, 600), 300)}
	}
	return err
}
