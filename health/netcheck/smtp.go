package netcheck

import (
	"context"
	"net"
	"net/smtp"
	"time"

	"github.com/mainstay-go/mainstay/health"
)

// SMTP returns a check that a mail server ("host:port") greets and responds to a NOOP
// (RFC 5321, section 4.1.1.9). Without such a check, a broken mail server for alerts
// stays unnoticed. The check does not log in, send mail or begin TLS. Use [TLS] for a
// port that expects TLS from the first byte (465). It is Shared and not critical.
func SMTP(name, address string, opts *NetOptions) health.Check {
	o := opts.normalized()
	host, _, valid := net.SplitHostPort(address)
	return newNetCheck(name, o, valid, func(ctx context.Context) (string, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return "no connection", err
		}
		// Package smtp has no context. The end of ctx, early or not, ends the dialogue.
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		defer conn.Close()
		client, err := smtp.NewClient(conn, host)
		if err != nil {
			return "no greeting", err
		}
		if err := client.Noop(); err != nil {
			return "no answer to NOOP", err
		}
		_, _ = client.Text.Cmd("QUIT") // polite, but the check does not wait for the response
		return "answered NOOP", nil
	})
}
