package health

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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// outcomeOf runs a check once through a registry, so that its numbers are
// graded.
func outcomeOf(t *testing.T, c Check) CheckState {
	t.Helper()
	r := newRegistry(t, nil, c)
	_, err := r.RunOnce(t.Context())
	require.NoError(t, err)
	return state(t, r, c.Name)
}

func TestBackups(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration, size int64) Backup { return Backup{Time: now.Add(-d), Size: size, Verified: now} }
	older := []Backup{ago(30*time.Hour, 100<<20), ago(54*time.Hour, 90<<20), ago(78*time.Hour, 110<<20)}
	for name, c := range map[string]struct {
		list []Backup
		want Status
		says string
	}{
		"fresh":           {append(older, ago(9*time.Hour, 100<<20)), Pass, "newest is 9 h old, 100.0 MiB"},
		"first one":       {[]Backup{ago(time.Hour, 2048)}, Pass, ""},
		"a day late":      {[]Backup{ago(27*time.Hour, 2048)}, Warn, "27 h"},
		"two days late":   {[]Backup{ago(51*time.Hour, 2048)}, Fail, "2 days"},
		"none":            {nil, Fail, "there is no backup"},
		"empty file":      {append(older, ago(time.Hour, 0)), Fail, "cannot be whole"},
		"half the size":   {append(older, ago(time.Hour, 40<<20)), Warn, "less than half of the usual"},
		"in the future":   {append(older, ago(-time.Hour, 100<<20)), Warn, "1 dated in the future"},
		"all in future":   {[]Backup{ago(-time.Hour, 100<<20)}, Fail, "check the clock"},
		"a little future": {[]Backup{ago(-time.Minute, 2048)}, Pass, ""},
		"unverified":      {[]Backup{{Time: now.Add(-time.Hour), Size: 2048}, {Time: now.Add(-8 * day), Size: 2048}}, Warn, "none verified for 8 days"},
		"not yet due":     {[]Backup{{Time: now.Add(-time.Hour), Size: 2048}, {Time: now.Add(-6 * day), Size: 2048}}, Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) { return c.list, nil }, nil))
			require.Equal(t, c.want, s.Status, s.Output)
			require.Contains(t, s.Output, c.says)
		})
	}
	s := outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) { return nil, errors.New("S3 is away") }, nil))
	require.Equal(t, Fail, s.Status)
	off := &BackupsOptions{VerifyWithin: -1}
	s = outcomeOf(t, Backups("backups", func(context.Context) ([]Backup, error) {
		return []Backup{{Time: now, Size: 2048}, {Time: now.Add(-90 * day), Size: 2048}}, nil
	}, off))
	require.Equal(t, Pass, s.Status, s.Output)
}

func TestBackupFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pos-1.db.gz", "pos-2.db.gz", "pos-3.db.gz.tmp", ".pos-4.db.gz", "pos-5.db.gz.part", "other.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), make([]byte, 2000), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "pos-6.db.gz"), 0o700))
	list, err := BackupFiles(dir, "pos-*")(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.EqualValues(t, 2000, list[0].Size)
	_, err = BackupFiles(dir+"/nothing", "*")(t.Context())
	require.Error(t, err)
	_, err = BackupFiles(dir, "[")(t.Context())
	require.Error(t, err)
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
	o := &HTTPOptions{Header: http.Header{"X-Key": {"k"}}, Contains: "well"}
	require.Equal(t, Pass, outcomeOf(t, HTTP("h", server.URL, o)).Status)
	require.Contains(t, outcomeOf(t, HTTP("h", server.URL, nil)).Output, "answered 500")
	require.Equal(t, Fail, outcomeOf(t, HTTP("h", server.URL+"/bad", o)).Status)
	require.Equal(t, Fail, outcomeOf(t, HTTP("h", server.URL, &HTTPOptions{Header: o.Header, Contains: "ill"})).Status)
	slow := &HTTPOptions{Header: o.Header, NetOptions: NetOptions{SlowAfter: time.Nanosecond}}
	require.Equal(t, Warn, outcomeOf(t, HTTP("h", server.URL, slow)).Status)
	address := server.Listener.Addr().String()
	require.Equal(t, Pass, outcomeOf(t, TCP("t", address, nil)).Status)
	server.Close()
	require.Equal(t, Fail, outcomeOf(t, HTTP("h", "http://u:S3cr3t@"+address, o)).Status)
	require.NotContains(t, outcomeOf(t, HTTP("h", "http://u:S3cr3t@"+address, o)).Output, "S3cr3t")
	require.Equal(t, Fail, outcomeOf(t, TCP("t", address, nil)).Status)
}

func TestDNS(t *testing.T) {
	require.Equal(t, Pass, outcomeOf(t, DNS("d", "localhost", nil)).Status)
	dead := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	require.Equal(t, Fail, outcomeOf(t, DNS("d", "host.invalid", &DNSOptions{Resolver: dead})).Status)
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
		file, wire  Status
	}{
		"long":      {-day, 60 * day, Pass, Pass},
		"20 days":   {-day, 20 * day, Warn, Warn},
		"2 days":    {-day, 2 * day, Fail, Fail},
		"expired":   {-2 * day, -day, Fail, Fail},
		"not valid": {day, 60 * day, Fail, Fail},
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
			require.Equal(t, Fail, outcomeOf(t, TLS("tls", server.Listener.Addr().String(), nil)).Status, "an unknown authority")
		})
	}
	require.Equal(t, Fail, outcomeOf(t, CertificateFile("tls", t.TempDir()+"/nothing", nil)).Status)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	require.Contains(t, outcomeOf(t, CertificateFile("tls", empty, nil)).Output, "there is no certificate")
}

func TestGauge(t *testing.T) {
	read := func(v float64) func(context.Context) (float64, error) {
		return func(context.Context) (float64, error) { return v, nil }
	}
	o := &GaugeOptions{Limits: Limits{Warn: 100, Fail: 1000}, Unit: "mails"}
	for v, want := range map[float64]Status{0: Pass, 99: Pass, 100: Warn, 1000: Fail, nan(): Fail} {
		require.Equal(t, want, outcomeOf(t, Gauge("q", read(v), o)).Status)
	}
	require.Equal(t, "12000 mails", outcomeOf(t, Gauge("q", read(12000), o)).Output)
	_, err := New([]Check{Gauge("q", read(1), &GaugeOptions{Limits: Limits{Warn: 10, Fail: 5}})}, nil)
	require.ErrorContains(t, err, "fail at 5 before it warns at 10")
	s := outcomeOf(t, Goroutines("g", nil))
	require.Equal(t, Pass, s.Status)
	require.Positive(t, s.Observed[0].Value)
}

func TestClock(t *testing.T) {
	reference := func(off time.Duration) func(context.Context) (time.Time, error) {
		return func(context.Context) (time.Time, error) { return time.Now().Add(off), nil }
	}
	for off, want := range map[time.Duration]Status{
		0: Pass, 1500 * time.Millisecond: Warn, -1500 * time.Millisecond: Warn, time.Minute: Fail, -time.Minute: Fail,
	} {
		require.Equal(t, want, outcomeOf(t, Clock("clock", reference(off), nil)).Status, off)
	}
	unknown := func(context.Context) (time.Time, error) { return time.Time{}, errors.New("away") }
	require.Equal(t, Warn, outcomeOf(t, Clock("clock", unknown, nil)).Status)

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
