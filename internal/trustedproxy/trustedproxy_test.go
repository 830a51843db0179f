package trustedproxy

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func request(remote string, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: remote, Host: "inner:8080", Header: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func mustParse(t testing.TB, header string, cidrs ...string) Proxies {
	t.Helper()
	p, err := Parse(cidrs...)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		if p, err = p.Using(header); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Each row is an attack or a deployment that peers have got wrong in public.
func TestClientAddr(t *testing.T) {
	t.Parallel()
	const xff = "X-Forwarded-For"
	private := []string{"10.0.0.0/8", "127.0.0.1", "fd00::/8"}
	for _, c := range []struct {
		name   string
		trust  []string
		header string
		remote string
		set    []string
		want   string // "" = no answer
	}{
		{"no proxy, no header", nil, "", "203.0.113.7:5000", nil, "203.0.113.7"},
		{"spoofed header without a proxy", nil, "", "203.0.113.7:5000", []string{xff, "1.1.1.1"}, "203.0.113.7"},
		{"spoofed header from an untrusted peer", private, "", "203.0.113.7:5000", []string{xff, "1.1.1.1"}, "203.0.113.7"},
		{"one proxy", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7"}, "203.0.113.7"},
		{"leftmost is the client's own invention", private, "", "10.0.0.1:80", []string{xff, "1.1.1.1, 203.0.113.7"}, "203.0.113.7"},
		{"private address claimed by the client", private, "", "10.0.0.1:80", []string{xff, "10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
		{"two proxies", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"two header lines are one list", private, "", "10.0.0.1:80", []string{xff, "1.1.1.1", xff, "203.0.113.7"}, "203.0.113.7"},
		{"garbage left of the client is not read", private, "", "10.0.0.1:80", []string{xff, "'; drop, 203.0.113.7"}, "203.0.113.7"},
		{"garbage where the client should be", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7, nonsense"}, ""},
		{"garbage behind a trusted hop", private, "", "10.0.0.1:80", []string{xff, "nonsense, 10.0.0.2"}, ""},
		{"unknown", private, "", "10.0.0.1:80", []string{xff, "unknown"}, ""},
		{"empty header", private, "", "10.0.0.1:80", []string{xff, ""}, ""},
		{"trailing comma", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7,"}, ""},
		{"no header from the proxy itself", private, "", "10.0.0.1:80", nil, "10.0.0.1"},
		{"all hops trusted: the leftmost", private, "", "10.0.0.1:80", []string{xff, "10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7:4711"}, "203.0.113.7"},
		{"IPv6 with a port", private, "", "10.0.0.1:80", []string{xff, "[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv6 in brackets", private, "", "10.0.0.1:80", []string{xff, "[2001:db8::1]"}, "2001:db8::1"},
		{"IPv4 in brackets is garbage", private, "", "10.0.0.1:80", []string{xff, "[203.0.113.7]"}, ""},
		{"IPv6 peer with a zone", nil, "", "[fe80::1%eth0]:80", nil, "fe80::1"},
		{"zone in the header", private, "", "10.0.0.1:80", []string{xff, "fe80::1%x"}, "fe80::1"},
		{"mapped IPv4 peer", nil, "", "[::ffff:203.0.113.7]:80", nil, "203.0.113.7"},
		{"mapped IPv4 proxy is trusted by its IPv4 prefix", private, "", "[::ffff:10.0.0.1]:80", []string{xff, "203.0.113.7"}, "203.0.113.7"},
		{"mapped IPv4 in the header is one client", private, "", "10.0.0.1:80", []string{xff, "::ffff:203.0.113.7"}, "203.0.113.7"},
		{"mapped trusted hop", private, "", "10.0.0.1:80", []string{xff, "203.0.113.7, ::ffff:10.0.0.2"}, "203.0.113.7"},
		{"zone can not dodge the trusted prefix", private, "", "[fd00::1%a]:80", []string{xff, "203.0.113.7"}, "203.0.113.7"},
		{"octal and hex are no addresses", private, "", "10.0.0.1:80", []string{xff, "0313.0x0.0161.7"}, ""},
		{"unix socket, not trusted", private, "", "@", []string{xff, "203.0.113.7"}, ""},
		{"unix socket, trusted", []string{"unix"}, "", "@", []string{xff, "203.0.113.7"}, "203.0.113.7"},
		{"unix socket with a path", []string{"unix"}, "", "/run/app.sock", []string{xff, "203.0.113.7"}, "203.0.113.7"},
		{"unix socket, trusted, no header", []string{"unix"}, "", "@", nil, ""},
		{"a broken RemoteAddr is no unix socket", []string{"unix"}, "", "pipe", []string{xff, "203.0.113.7"}, ""},
		{"empty RemoteAddr, nobody trusted", nil, "", "", nil, ""},
		{"Forwarded is not read unless chosen", private, "", "10.0.0.1:80", []string{"Forwarded", "for=1.1.1.1", xff, "203.0.113.7"}, "203.0.113.7"},
		{"X-Real-Ip is not read unless chosen", private, "", "10.0.0.1:80", []string{"X-Real-IP", "1.1.1.1"}, "10.0.0.1"},

		{"forwarded", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=1.1.1.1, for=203.0.113.7;proto=https`}, "203.0.113.7"},
		{"forwarded IPv6", private, "forwarded", "10.0.0.1:80", []string{"Forwarded", `For="[2001:db8::1]:4711"`}, "2001:db8::1"},
		{"forwarded, XFF ignored", private, "Forwarded", "10.0.0.1:80", []string{xff, "1.1.1.1"}, "10.0.0.1"},
		{"forwarded obfuscated", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=_hidden`}, ""},
		{"forwarded unknown", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=unknown`}, ""},
		{"forwarded comma in quotes is no separator", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=1.1.1.1;by="a, for=9.9.9.9", for=203.0.113.7`}, "203.0.113.7"},
		{"forwarded open quote swallows nothing", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for="1.1.1.1, for=203.0.113.7`}, ""},
		{"forwarded twice for", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=1.1.1.1;for=203.0.113.7`}, ""},
		{"forwarded through two", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `for=203.0.113.7`, "Forwarded", `for=10.0.0.2`}, "203.0.113.7"},
		{"forwarded without for", private, "Forwarded", "10.0.0.1:80", []string{"Forwarded", `proto=https`}, ""},

		{"CDN header", private, "CF-Connecting-IP", "10.0.0.1:80", []string{"Cf-Connecting-Ip", "203.0.113.7", xff, "1.1.1.1"}, "203.0.113.7"},
		{"CDN header from elsewhere", private, "CF-Connecting-IP", "198.51.100.1:80", []string{"Cf-Connecting-Ip", "1.1.1.1"}, "198.51.100.1"},
		{"CDN header twice", private, "CF-Connecting-IP", "10.0.0.1:80", []string{"Cf-Connecting-Ip", "1.1.1.1", "Cf-Connecting-Ip", "203.0.113.7"}, ""},
		{"CDN header as a list", private, "CF-Connecting-IP", "10.0.0.1:80", []string{"Cf-Connecting-Ip", "1.1.1.1, 203.0.113.7"}, ""},
		{"CDN header missing", private, "CF-Connecting-IP", "10.0.0.1:80", nil, "10.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := mustParse(t, c.header, c.trust...)
			got, ok := p.ClientAddr(request(c.remote, c.set...))
			if want := c.want != ""; ok != want {
				t.Fatalf("ClientAddr = %v, %v; want ok = %v", got, ok, want)
			}
			if ok && got != netip.MustParseAddr(c.want) {
				t.Fatalf("ClientAddr = %v, want %v", got, c.want)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	const proto, host, prefix = "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix"
	trusted := []string{"10.0.0.0/8"}
	for _, c := range []struct {
		name   string
		header string
		remote string
		set    []string
		want   string
	}{
		{"direct", "", "203.0.113.7:1", nil, "http inner:8080 "},
		{"claims of an untrusted peer", "", "203.0.113.7:1", []string{proto, "https", host, "evil.example", prefix, "/x"}, "http inner:8080 "},
		{"behind a proxy", "", "10.0.0.1:1", []string{proto, "https", host, "shop.example", prefix, "/shop/"}, "https shop.example /shop"},
		{"scheme that is none", "", "10.0.0.1:1", []string{proto, "javascript", host, "shop.example"}, "http shop.example "},
		{"host with a path", "", "10.0.0.1:1", []string{host, "shop.example/evil"}, "http inner:8080 "},
		{"host with user information", "", "10.0.0.1:1", []string{host, "a@evil.example"}, "http inner:8080 "},
		{"prefix to another site", "", "10.0.0.1:1", []string{prefix, "//evil.example"}, "http inner:8080 "},
		{"prefix with dots", "", "10.0.0.1:1", []string{prefix, "/a/.."}, "http inner:8080 "},
		{"prefix with a scheme", "", "10.0.0.1:1", []string{prefix, "https://evil.example"}, "http inner:8080 "},
		{
			"two proxies append; the client's own words lie further left", "", "10.0.0.1:1",
			[]string{"X-Forwarded-For", "203.0.113.7, 10.0.0.2", host, "evil.example, shop.example, inner.example", proto, "https, http"},
			"https shop.example ",
		},
		{"forwarded", "Forwarded", "10.0.0.1:1", []string{"Forwarded", "for=203.0.113.7;proto=https;host=shop.example", host, "evil.example"}, "https shop.example "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := mustParse(t, c.header, trusted...)
			scheme, host, prefix := p.Origin(request(c.remote, c.set...))
			if got := scheme + " " + host + " " + prefix; got != c.want {
				t.Errorf("Origin = %q, want %q", got, c.want)
			}
		})
	}
	r := request("203.0.113.7:1")
	r.TLS = &tls.ConnectionState{}
	if scheme, _, _ := (Proxies{}).Origin(r); scheme != "https" {
		t.Errorf("scheme = %q over TLS", scheme)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"10.0.0.0/33", "example.com", "fe80::1%eth0", "::ffff:0:0/64", "10.0.0.1:80"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) succeeded", bad)
		}
	}
	p := mustParse(t, "", "10.0.0.0/8, 192.168.1.1", "::ffff:172.16.0.0/108")
	for addr, want := range map[string]bool{"10.1.2.3": true, "192.168.1.1": true, "192.168.1.2": false, "172.16.9.9": true, "172.32.0.1": false} {
		if got := p.Trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Trusts(%s) = %v", addr, got)
		}
	}
	for _, bad := range []string{"", "a b", "X-Forwarded-Host", "Via"} {
		if _, err := p.Using(bad); err == nil {
			t.Errorf("Using(%q) succeeded", bad)
		}
	}
}

// Whatever a client puts into the header, a proxy that appends the address it saw
// must be believed, and nobody else.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{
		"", "1.1.1.1", "unknown", "1.1.1.1, 10.0.0.2", "for=1.1.1.1", `for="[2001:db8::1]:80";proto=https`,
		`for="`, `for="\`, "for=a;for=b", ";;,,;", "10.0.0.2,10.0.0.3", "[::1", `by="x, for=9.9.9.9"`, "::ffff:10.0.0.1%z",
	} {
		f.Add(s)
	}
	xff := mustParse(f, "", "10.0.0.0/8")
	fwd := mustParse(f, "Forwarded", "10.0.0.0/8")
	client := netip.MustParseAddr("203.0.113.7")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range []struct {
			Proxies
			header, appended string
		}{
			{xff, "X-Forwarded-For", "203.0.113.7"},
			{fwd, "Forwarded", "for=203.0.113.7"},
		} {
			r := request("10.0.0.1:80")
			r.Header[p.header] = []string{s, p.appended}
			if got, ok := p.ClientAddr(r); !ok || got != client {
				t.Fatalf("%s: %q before %q gave %v, %v", p.header, s, p.appended, got, ok)
			}
			if p.header == "X-Forwarded-For" {
				r.Header[p.header] = []string{s + ", " + p.appended}
				if got, ok := p.ClientAddr(r); !ok || got != client {
					t.Fatalf("%q on one line gave %v, %v", s, got, ok)
				}
			}
			r.Header[p.header] = []string{s}
			if got, ok := p.ClientAddr(r); ok && (!got.IsValid() || got.Zone() != "" || got.Is4In6()) {
				t.Fatalf("%q gave the unnormalised %v", s, got)
			}
			r.RemoteAddr = "198.51.100.9:1"
			if got, ok := p.ClientAddr(r); !ok || got.String() != "198.51.100.9" {
				t.Fatalf("an untrusted peer was believed: %v", got)
			}
			r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Prefix"] = []string{s}, []string{s}
			r.RemoteAddr = "10.0.0.1:1"
			if scheme, host, prefix := p.Origin(r); scheme != "http" && scheme != "https" || strings.ContainsAny(host+prefix, "\r\n\\@?# ") {
				t.Fatalf("Origin = %q %q %q", scheme, host, prefix)
			}
		}
	})
}
