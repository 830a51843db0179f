package netcheck_test

import (
	"io"
	"net"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/netcheck"
)

type noMail struct{}

func (noMail) NewSession(*smtp.Conn) (smtp.Session, error) { return noMail{}, nil }
func (noMail) AuthPlain(string, string) error              { return smtp.ErrAuthFailed }
func (noMail) Mail(string, *smtp.MailOptions) error        { return smtp.ErrAuthRequired }
func (noMail) Rcpt(string, *smtp.RcptOptions) error        { return smtp.ErrAuthRequired }
func (noMail) Data(io.Reader) error                        { return smtp.ErrAuthRequired }
func (noMail) Reset()                                      {}
func (noMail) Logout() error                               { return nil }

func TestSMTP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := smtp.NewServer(noMail{})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(listener) }()
	address := listener.Addr().String()
	got := netcheck.SMTP("mail", address, nil).Checker.Check(t.Context())
	require.Equal(t, health.Pass, got.Status)
	require.Contains(t, got.Summary, "answered NOOP")
	require.NoError(t, server.Close())
	<-ended
	// Not the address of just now: the next listener of any test may have it already.
	require.Contains(t, netcheck.SMTP("mail", "127.0.0.1:1", nil).Checker.Check(t.Context()).Summary, "no connection")
}
