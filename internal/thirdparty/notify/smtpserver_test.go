package notify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// smtpServer is a real SMTP server that keeps what it gets and misbehaves on
// request.
type smtpServer struct {
	*smtp.Server
	addr string
	cert *x509.Certificate

	mu     sync.Mutex
	mails  []received
	logins []string
	refuse map[string]error // by recipient
	onData func(io.Reader) error
	// onContent decides about a whole mail. closeAfter is the number of bytes after which
	// the server closes the connection.
	onContent  func([]byte) error
	closeAfter int64
	password   string
}

type received struct {
	from, raw string
	to        []string
	tls       bool
}

func (r received) parse(t testing.TB) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(r.raw))
	if err != nil {
		t.Fatalf("the server got something that is no mail: %v\n%s", err, r.raw)
	}
	return m
}

func newSMTPServer(t testing.TB, configure func(*smtpServer)) *smtpServer {
	t.Helper()
	s := &smtpServer{refuse: map[string]error{}, password: "s3cret"}
	s.Server = smtp.NewServer(s)
	s.Domain = "mail.test"
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.ReadTimeout, s.WriteTimeout = 30*time.Second, 30*time.Second
	if configure != nil {
		configure(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return s
}

// withTLS gives the server a certificate of its own for 127.0.0.1 and returns
// what a client needs to trust it.
func (s *smtpServer) withTLS(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s.cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (s *smtpServer) trust() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func (s *smtpServer) got() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

// NewSession makes the server its own back-end.
func (s *smtpServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &smtpSession{s: s, conn: c}, nil
}

type smtpSession struct {
	s       *smtpServer
	conn    *smtp.Conn
	current received
}

func (*smtpSession) AuthMechanisms() []string { return []string{sasl.Plain, "XOAUTH2"} }

// xoauth2 is the server's side of Google's and Microsoft's login by token.
type xoauth2 struct{ s *smtpServer }

func (x xoauth2) Next(response []byte) (challenge []byte, done bool, err error) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.logins = append(x.s.logins, string(response))
	if string(response) != "user=pos@example.org\x01auth=Bearer "+x.s.password+"\x01\x01" {
		return nil, false, errors.New("no")
	}
	return nil, true, nil
}

func (x *smtpSession) Auth(mechanism string) (sasl.Server, error) {
	if mechanism == "XOAUTH2" {
		return xoauth2{x.s}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		x.s.logins = append(x.s.logins, user)
		if password != x.s.password {
			return errors.New("no")
		}
		return nil
	}), nil
}

func (x *smtpSession) Reset()        { x.current = received{} }
func (x *smtpSession) Logout() error { return nil }

func (x *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	x.current.from = from
	return nil
}

func (x *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if err := x.s.refuse[to]; err != nil {
		return err
	}
	x.current.to = append(x.current.to, to)
	return nil
}

func (x *smtpSession) Data(r io.Reader) error {
	if x.s.onData != nil {
		return x.s.onData(r)
	}
	if limit := x.s.closeAfter; limit > 0 {
		var start bytes.Buffer
		if n, err := io.CopyN(&start, r, limit); n == limit && err == nil {
			x.conn.Conn().Close()
			return errors.New("closed")
		}
		r = &start
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if x.s.onContent != nil {
		if err := x.s.onContent(b); err != nil {
			return err
		}
	}
	x.current.raw = string(b)
	_, x.current.tls = x.conn.TLSConnectionState()
	x.s.mu.Lock()
	x.s.mails = append(x.s.mails, x.current)
	x.s.mu.Unlock()
	return nil
}

// newTLSFront serves s a second time behind TLS from the first byte.
func newTLSFront(t testing.TB, s *smtpServer) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLSConfig)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// hostileServer hands each connection to behave and leaves it open until the end
// of the test.
func hostileServer(t testing.TB, behave func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { behave(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}
