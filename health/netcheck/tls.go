package netcheck

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/durationtext"
)

// TLSOptions tune [TLS] and [CertificateFile]. The zero value and nil work.
type TLSOptions struct {
	// Timeout of a run. Default: 5 s.
	Timeout time.Duration
	// WarnBefore and FailBefore are the remaining times that warn and fail.
	// Default: 21 days and 3 days.
	WarnBefore, FailBefore time.Duration
	// Config is for the handshake. It sets the authorities and the server name.
	// Default: the system's authorities and the host of the address.
	Config *tls.Config
}

const day = 24 * time.Hour

func (o *TLSOptions) normalized() TLSOptions {
	var n TLSOptions
	if o != nil {
		n = *o
	}
	n.Timeout = cmp.Or(n.Timeout, 5*time.Second)
	n.WarnBefore = cmp.Or(n.WarnBefore, 21*day)
	n.FailBefore = cmp.Or(n.FailBefore, 3*day)
	return n
}

// TLS returns a check of the certificates of a server ("host:port"). It checks that a
// client accepts them, and the remaining time of the first certificate in the chain to
// expire. If several chains are valid, the one that stays valid longest counts. It runs
// every hour. It is Shared and not critical.
func TLS(name, address string, opts *TLSOptions) health.Check {
	o := opts.normalized()
	host, _, valid := net.SplitHostPort(address)
	return newCertCheck(name, o, valid, func(ctx context.Context) ([]*x509.Certificate, string, error) {
		raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, "no connection", err
		}
		defer raw.Close()
		config := o.Config.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		config.ServerName = cmp.Or(config.ServerName, host)
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			var refused *tls.CertificateVerificationError
			if errors.As(err, &refused) {
				return nil, "no valid certificate", err
			}
			return nil, "no TLS handshake", err
		}
		state := conn.ConnectionState()
		return longestValid(state.VerifiedChains, state.PeerCertificates), "", nil
	})
}

// longestValid returns the chain whose first certificate to expire does so last. A server may
// send a further certificate, for old clients, that has expired and that no other client
// needs. sent is for a client that verifies no chain.
func longestValid(chains [][]*x509.Certificate, sent []*x509.Certificate) []*x509.Certificate {
	if len(chains) == 0 {
		return sent
	}
	return slices.MaxFunc(chains, func(a, b []*x509.Certificate) int {
		return firstToExpire(a).NotAfter.Compare(firstToExpire(b).NotAfter)
	})
}

func firstToExpire(certs []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(certs, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// CertificateFile returns a check of the certificates in a PEM file. It finds a failed
// renewal, or a file that is truncated, before the server is restarted with it. It runs every hour. It is not
// critical.
func CertificateFile(name, path string, opts *TLSOptions) health.Check {
	o := opts.normalized()
	var valid error
	if path == "" {
		valid = errors.New("the path is empty")
	}
	return newCertCheck(name, o, valid, func(context.Context) ([]*x509.Certificate, string, error) {
		file, err := os.ReadFile(path)
		if err != nil {
			return nil, "the file cannot be read", err
		}
		var certs []*x509.Certificate
		begun := begins(file)
		for rest := file; ; begun-- {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				if begun > 0 { // Decode leaves out what it cannot read
					err = fmt.Errorf("%d parts of the file are truncated or damaged", begun)
				}
				return certs, "no complete file", err
			}
			if block.Type != "CERTIFICATE" {
				continue
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, "no valid certificate", err
			}
			certs = append(certs, cert)
		}
	})
}

// begins counts the lines that begin a part of a PEM file. The last line may be truncated.
func begins(file []byte) int {
	const begin = "-----BEGIN "
	n := bytes.Count(file, []byte(begin))
	last := file[bytes.LastIndexByte(file, '\n')+1:]
	if len(last) > 0 && len(last) < len(begin) && strings.HasPrefix(begin, string(last)) {
		n++
	}
	return n
}

func newCertCheck(name string, opts TLSOptions, valid error, load func(context.Context) ([]*x509.Certificate, string, error)) health.Check {
	if valid == nil && (opts.FailBefore < 0 || opts.WarnBefore < opts.FailBefore) {
		valid = fmt.Errorf("WarnBefore %v and FailBefore %v: use positive times, the first not smaller", opts.WarnBefore, opts.FailBefore)
	}
	return health.Check{
		Name: name, Type: "component", Shared: true, Timeout: opts.Timeout, Interval: time.Hour,
		Checker: &certCheck{opts: opts, valid: valid, load: load},
	}
}

type certCheck struct {
	opts  TLSOptions
	valid error
	load  func(context.Context) (certs []*x509.Certificate, problem string, err error)
}

func (c *certCheck) Validate() error { return c.valid }

func (c *certCheck) Check(ctx context.Context) health.Result {
	certs, problem, err := c.load(ctx)
	if err != nil {
		return health.Failed(problem, err)
	}
	return c.judge(certs, time.Now())
}

func (c *certCheck) judge(certs []*x509.Certificate, now time.Time) health.Result {
	if len(certs) == 0 {
		return health.Failed("there is no certificate", nil)
	}
	first := firstToExpire(certs)
	for _, cert := range certs {
		if now.Before(cert.NotBefore) {
			return health.Failed("not valid before "+cert.NotBefore.UTC().Format("2006-01-02 15:04 UTC"), nil)
		}
	}
	left := first.NotAfter.Sub(now)
	res := health.Result{
		Status:  health.Pass,
		Summary: "valid for " + durationtext.Roughly(left),
		Observed: []health.Measurement{{
			Name: "validity", Component: first.Subject.CommonName, Value: left.Hours() / 24, Unit: "days",
			Limits: health.Limits{Warn: c.opts.WarnBefore.Hours() / 24, Fail: c.opts.FailBefore.Hours() / 24, Below: true},
		}},
	}
	if left <= 0 {
		res.Status, res.Summary = health.Fail, "expired "+durationtext.Roughly(-left)+" ago"
	}
	return res
}
