package netcheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mainstay-go/mainstay/health"
)

// outcomeOf runs a check once through a registry, so that its numbers are graded.
func outcomeOf(t *testing.T, c health.Check) health.CheckState {
	t.Helper()
	r, err := health.New([]health.Check{c}, nil)
	require.NoError(t, err)
	s, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return s.Checks[0]
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" || r.Header.Get("X-Key") == "" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("all is well"))
	}))
	defer server.Close()
	patient := NetOptions{Timeout: time.Minute, SlowAfter: time.Minute} // on a busy machine
	o := &HTTPOptions{NetOptions: patient, Header: http.Header{"X-Key": {"k"}}, Contains: "well"}
	require.Equal(t, health.Pass, outcomeOf(t, HTTP("h", server.URL, o)).Status)
	require.Contains(t, outcomeOf(t, HTTP("h", server.URL, nil)).Output, "answered 500")
	require.Equal(t, health.Fail, outcomeOf(t, HTTP("h", server.URL+"/bad", o)).Status)
	require.Equal(t, health.Fail, outcomeOf(t, HTTP("h", server.URL, &HTTPOptions{Header: o.Header, Contains: "ill"})).Status)
	slow := &HTTPOptions{Header: o.Header, NetOptions: NetOptions{SlowAfter: time.Nanosecond}}
	require.Equal(t, health.Warn, outcomeOf(t, HTTP("h", server.URL, slow)).Status)
	address := server.Listener.Addr().String()
	require.Equal(t, health.Pass, outcomeOf(t, TCP("t", address, &patient)).Status)
	server.Close()
	// Not the address of just now: the next listener of any test may have it already.
	address = "127.0.0.1:1"
	require.Equal(t, health.Fail, outcomeOf(t, HTTP("h", "http://u:S3cr3t@"+address, o)).Status)
	require.NotContains(t, outcomeOf(t, HTTP("h", "http://u:S3cr3t@"+address, o)).Output, "S3cr3t")
	require.Equal(t, health.Fail, outcomeOf(t, TCP("t", address, nil)).Status)
}

// A server that has stopped to accept connections still serves the open ones.
func TestHTTPUsesANewConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) }))
		server.EnableHTTP2 = http2
		server.StartTLS()
		defer server.Close()
		client := server.Client()
		want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
		c := HTTP("h", server.URL, &HTTPOptions{Client: client, Contains: want, NetOptions: NetOptions{Timeout: time.Minute, SlowAfter: time.Minute}})
		require.Equal(t, health.Pass, outcomeOf(t, c).Status, want)
		resp, err := client.Get(server.URL) // another user of the client keeps a connection
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		server.Listener.Close()
		require.Equal(t, health.Fail, outcomeOf(t, c).Status, want)
	}
}

func TestHTTPStatusBeforeBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	require.Equal(t, "answered 503", outcomeOf(t, HTTP("h", server.URL, nil)).Output)
}

func TestDNS(t *testing.T) {
	require.Equal(t, health.Pass, outcomeOf(t, DNS("d", "localhost", nil)).Status)
	dead := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	require.Equal(t, health.Fail, outcomeOf(t, DNS("d", "host.invalid", &DNSOptions{Resolver: dead})).Status)
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T, from, until time.Time) (tls.Certificate, *x509.CertPool, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example"},
		NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		from, until time.Duration
		file, wire  health.Status
	}{
		"long":      {-day, 60 * day, health.Pass, health.Pass},
		"20 days":   {-day, 20 * day, health.Warn, health.Warn},
		"2 days":    {-day, 2 * day, health.Fail, health.Fail},
		"expired":   {-2 * day, -day, health.Fail, health.Fail},
		"not valid": {day, 60 * day, health.Fail, health.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			cert, pool, text := certificate(t, now.Add(c.from), now.Add(c.until))
			file := filepath.Join(t.TempDir(), "cert.pem")
			require.NoError(t, os.WriteFile(file, text, 0o600))
			s := outcomeOf(t, CertificateFile("tls", file, nil))
			require.Equal(t, c.file, s.Status, s.Output)

			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			server.Config.ErrorLog = nil
			server.StartTLS()
			defer server.Close()
			s = outcomeOf(t, TLS("tls", server.Listener.Addr().String(), &TLSOptions{Config: &tls.Config{RootCAs: pool}}))
			require.Equal(t, c.wire, s.Status, s.Output)
			require.Equal(t, health.Fail, outcomeOf(t, TLS("tls", server.Listener.Addr().String(), nil)).Status, "an unknown authority")
		})
	}
	require.Equal(t, health.Fail, outcomeOf(t, CertificateFile("tls", t.TempDir()+"/nothing", nil)).Status)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	require.Contains(t, outcomeOf(t, CertificateFile("tls", empty, nil)).Output, "there is no certificate")
}

// A server sends a certificate for old clients that has expired: a root signed by an older
// root. Clients that know the root itself do not need it.
func TestExpiredCertificateThatNobodyNeeds(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial := int64(0)
	sign := func(name string, ca bool, until time.Duration, parent *x509.Certificate) *x509.Certificate {
		serial++
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-100 * day), NotAfter: time.Now().Add(until),
			IsCA: ca, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert
	}
	root, old := sign("root", true, 900*day, nil), sign("old root", true, -day, nil)
	cross := sign("root", true, -day, old)
	for left, want := range map[time.Duration]health.Status{80 * day: health.Pass, 10 * day: health.Warn} {
		leaf := sign("shop.example", false, left, root)
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, cross.Raw}, PrivateKey: key}}}
		server.StartTLS()
		defer server.Close()
		pool := x509.NewCertPool()
		pool.AddCert(root)
		s := outcomeOf(t, TLS("tls", server.Listener.Addr().String(), &TLSOptions{Config: &tls.Config{RootCAs: pool}}))
		require.Equal(t, want, s.Status, s.Output)
		require.InDelta(t, left.Hours()/24, s.Observed[0].Value, 0.1)
	}
}

// The output of a check of certificates blames a certificate only if it is the cause.
func TestTLSNamesTheCause(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	require.Contains(t, outcomeOf(t, TLS("tls", address, nil)).Output, "no TLS handshake")
	require.NoError(t, server.Close())
	require.Contains(t, outcomeOf(t, TLS("tls", "127.0.0.1:1", nil)).Output, "no connection")
}

func TestClock(t *testing.T) {
	reference := func(off time.Duration) func(context.Context) (time.Time, error) {
		return func(context.Context) (time.Time, error) { return time.Now().Add(off), nil }
	}
	for off, want := range map[time.Duration]health.Status{
		0: health.Pass, 1500 * time.Millisecond: health.Warn, -1500 * time.Millisecond: health.Warn, time.Minute: health.Fail, -time.Minute: health.Fail,
	} {
		require.Equal(t, want, outcomeOf(t, Clock("clock", reference(off), nil)).Status, off)
	}
	unknown := func(context.Context) (time.Time, error) { return time.Time{}, errors.New("away") }
	require.Equal(t, health.Warn, outcomeOf(t, Clock("clock", unknown, nil)).Status)

	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	got, err := HTTPTime(server.URL, nil)(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 0, time.Since(got).Seconds(), 60)
}

// ntpServer answers each packet with what answer makes of it.
func ntpServer(t *testing.T, answer func(request []byte) []byte) string {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 128)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answer(buffer[:n]), from)
		}
	}()
	return conn.LocalAddr().String()
}

func TestNTPTime(t *testing.T) {
	want := time.Date(2040, 5, 6, 7, 8, 9, 500_000_000, time.UTC) // after the overflow of 2036
	reply := func(request []byte) []byte {
		b := make([]byte, 48)
		b[0], b[1] = 4<<3|4, 2
		copy(b[24:], request[40:48])
		binary.BigEndian.PutUint32(b[40:], uint32(want.Unix()+2208988800))
		binary.BigEndian.PutUint32(b[44:], 1<<31)
		return b
	}
	got, err := NTPTime(ntpServer(t, reply))(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got.UTC())
	for says, change := range map[string]func([]byte) []byte{
		"too short":         func(b []byte) []byte { return b[:47] },
		"not from a server": func(b []byte) []byte { b[0] = 4<<3 | 3; return b },
		"not synchronised":  func(b []byte) []byte { b[1] = 0; return b },
		"another question":  func(b []byte) []byte { b[24] ^= 1; return b },
		"has no time":       func(b []byte) []byte { clear(b[40:]); return b },
	} {
		_, err := NTPTime(ntpServer(t, func(request []byte) []byte { return change(reply(request)) }))(t.Context())
		require.ErrorContains(t, err, says)
	}
}

func FuzzNTP(f *testing.F) {
	f.Add(make([]byte, 48), uint64(0))
	f.Fuzz(func(_ *testing.T, reply []byte, sent uint64) { _, _ = parseNTP(reply, sent) })
}

func TestTargetsAreValidated(t *testing.T) {
	for want, c := range map[string]health.Check{
		"http or https URL": HTTP("h", "ftp://x", nil),
		"missing port":      TCP("t", "host", nil),
		"too many colons":   SMTP("s", "a:b:c", nil),
	} {
		_, err := health.New([]health.Check{c}, nil)
		require.ErrorContains(t, err, want)
	}
}

// A response that a cache has kept tells no time.
func TestHTTPTimeFromACache(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cached" || r.Header.Get("Cache-Control") != "no-cache" {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			w.Header().Set("Age", "3600")
		}
	}))
	defer server.Close()
	lenient := &ClockOptions{WarnOff: time.Minute, FailOff: time.Minute}
	require.Equal(t, health.Pass, outcomeOf(t, Clock("clock", HTTPTime(server.URL, nil), lenient)).Status)
	s := outcomeOf(t, Clock("clock", HTTPTime(server.URL+"/cached", nil), lenient))
	require.Equal(t, health.Warn, s.Status)
	require.Contains(t, s.Output, "the reference does not tell the time: the response is from a cache")
}

// A chain that is truncated anywhere in a certificate fails.
func TestTruncatedCertificateFile(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * day)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	chain := append(append([]byte("# the chain ----- of a test\n"), one...), one...)
	path := filepath.Join(t.TempDir(), "fullchain.pem")
	status := func(content []byte) health.Status {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return outcomeOf(t, CertificateFile("tls", path, nil)).Status
	}
	first := len(chain) - len(one)
	for end := first + 1; end < len(chain)-1; end += 7 { // the last line break may be missing
		require.Equal(t, health.Fail, status(chain[:end]), "%q", chain[first:end])
	}
	require.Equal(t, health.Pass, status(chain))
	require.Equal(t, health.Pass, status(chain[:len(chain)-1]))
	require.Equal(t, health.Pass, status(chain[:first]))
	damaged := append([]byte{}, chain...)
	damaged[first-len(one)+60] = '!'
	require.Equal(t, health.Fail, status(damaged))
}
