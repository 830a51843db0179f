package settings

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func load(env map[string]string, args ...string) (*Settings, []string, error) {
	return Load(args, func(name string) string { return env[name] })
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	for _, test := range []struct {
		env  string
		args []string
		want string
	}{
		{"", nil, "127.0.0.1:8080"},
		{"127.0.0.1:1", nil, "127.0.0.1:1"},
		{"127.0.0.1:1", []string{"--addr", "127.0.0.1:2"}, "127.0.0.1:2"},
		{"nonsense", []string{"-addr=127.0.0.1:2"}, "127.0.0.1:2"},
		{"", []string{"--addr=127.0.0.1:1", "--addr=127.0.0.1:2"}, "127.0.0.1:2"},
	} {
		s, _, err := load(map[string]string{"POS_ADDR": test.env}, test.args...)
		if err != nil || s.Addr != test.want {
			t.Errorf("%q %v: %v", test.env, test.args, err)
		}
	}
}

func TestWhatIsNoSettingIsLeft(t *testing.T) {
	s, rest, err := load(nil, "backup", "--data", "x", "--compress", "--demo", "list", "--demo=off", "--", "--addr", "y")
	if err != nil || s.Data != "x" || s.Demo || !slices.Equal(rest, []string{"backup", "--compress", "list", "--", "--addr", "y"}) {
		t.Errorf("%+v %q %v", s, rest, err)
	}
}

func TestSwitches(t *testing.T) {
	for args, want := range map[string]bool{"--demo": true, "--demo off": false, "--demo=0": false, "--demo on": true, "-demo=false": false} {
		if s, rest, err := load(map[string]string{"POS_DEMO": "on"}, strings.Fields(args)...); err != nil || s.Demo != want || len(rest) > 0 {
			t.Errorf("%s: %v %v %v", args, s.Demo, rest, err)
		}
	}
}

func TestRedisForms(t *testing.T) {
	for url, want := range map[string]struct {
		addrs   []string
		master  string
		db      int
		cluster bool
	}{
		"redis://h":                             {[]string{"h:6379"}, "", 0, false},
		"redis://user:p%40w@h:1/3":              {[]string{"h:1"}, "", 3, false},
		"rediss://h/1":                          {[]string{"h:6379"}, "", 1, false},
		"redis://[::1]:7/0":                     {[]string{"[::1]:7"}, "", 0, false},
		"redis+sentinel://a,b:2/prime/4":        {[]string{"a:26379", "b:2"}, "prime", 4, false},
		"redis+sentinel://:pw@a:1?master=prime": {[]string{"a:1"}, "prime", 0, false},
		"redis+sentinel://a:1/0":                {[]string{"a:1"}, "mymaster", 0, false},
		"redis+cluster://a:1,b:2,c:3":           {[]string{"a:1", "b:2", "c:3"}, "", 0, true},
	} {
		var r Redis
		if err := r.Set(url); err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if o := r.options; !slices.Equal(o.Addrs, want.addrs) || o.MasterName != want.master || r.DB() != want.db || r.Cluster() != want.cluster {
			t.Errorf("%s: %+v", url, o)
		}
		if tls := r.options.TLSConfig != nil; tls != strings.HasPrefix(url, "rediss") {
			t.Errorf("%s: TLS %v", url, tls)
		}
		_ = r.Client(2).Close()
	}
	for _, url := range []string{"", "h:6379", "http://h", "redis://", "redis://a,b", "redis://h:x", "redis://h/a", "redis://h:99999", "redis://a:b:c", "redis+sentinel://", "redis://h?db=3", "redis+cluster://a/3", "redis://h?tls-ca=x", "rediss://h?tls-ca=/nowhere"} {
		var r Redis
		if err := r.Set(url); err == nil || r.Configured() {
			t.Errorf("%q was accepted", url)
		}
	}
}

// TestDatabaseTLS verifies that a misspelt or meaningless parameter does not turn encryption
// off.
func TestDatabaseTLS(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	web := httptest.NewTLSServer(nil)
	web.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{"": TLSOff, "?tls=false": TLSOff, "?tls=skip-verify": TLSUnverified, "?tls=true": TLSVerified, "?tls=true&tls-ca=" + ca: TLSVerified} {
		var d Database
		if err := d.Set("mysql://u:pw@h/shop" + query); err != nil || d.TLS() != want {
			t.Errorf("%s: %q, %v", query, d.TLS(), err)
		}
	}
	for _, query := range []string{"?tls=yes", "?ssl=true", "?tls=true&tls-ca=/nowhere", "?tls=true&tls-ca=" + t.TempDir(), "?tls-ca=" + ca} {
		var d Database
		if err := d.Set("mysql://u:hunter2@h/shop" + query); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", query, err)
		}
	}
	var r Redis
	if err := r.Set("rediss://h?tls-ca=" + ca); err != nil || r.options.TLSConfig.RootCAs == nil {
		t.Errorf("rediss: %v", err)
	}
}

func TestDatabaseForms(t *testing.T) {
	var d Database
	if err := d.Set("mysql://u:p%2Fw@h/shop"); err != nil || d.Engine != MySQL || d.Name() != "shop" || d.Password() != "p/w" || d.Port() != "3306" {
		t.Errorf("%+v %v", d, err)
	}
	if err := d.Set("postgres://u:p@h:1/shop?sslmode=disable"); err != nil || d.Engine != Postgres || d.Port() != "1" {
		t.Errorf("%+v %v", d, err)
	}
	for _, url := range []string{"shop.db", "sqlite://x", "mysql://h", "mysql:///shop", "mysql://u:s3cret@h:x/d"} {
		if err := d.Set(url); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestBucketForms(t *testing.T) {
	var b Bucket
	err := b.Set("s3://key:s3%2Fcret@h:9000/backups/pos/a?region=eu-west-1&keep-days=90&lock-days=7&delete=off&read-back=off&tls=none")
	want := Bucket{"h:9000", "backups", "pos/a", "eu-west-1", "key", "s3/cret", true, 90, 7 * 24 * time.Hour, true, true}
	if err != nil || b != want {
		t.Errorf("%+v %v", b, err)
	}
	if err := b.Set("s3://h/backups"); err != nil || b != (Bucket{Endpoint: "h", Name: "backups", KeepDays: 30}) {
		t.Errorf("%+v %v", b, err)
	}
	for _, url := range []string{
		"", "h/b", "http://h/backups", "s3://h", "s3://h/", "s3://h/ab", "s3://s3cret@h/backups", "s3://k:s3cret@h:x/backups", "s3://h/backups?keep-days=0",
		"s3://h/backups?keep-days=x", "s3://h/backups?lock-days=-1", "s3://h/backups?tls=on", "s3://h/backups?delete=perhaps", "s3://h/backups?typo=1", "s3://h/backups?a=%zz",
	} {
		b := Bucket{}
		if err := b.Set(url); err == nil || b.Configured() || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
