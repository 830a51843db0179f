// Package netcheck has checks of servers and network services: HTTP, TCP, DNS, SMTP,
// certificates, and the time.
package netcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/durationtext"
)

// NetOptions tune [HTTP], [TCP] and [DNS]. The zero value and nil work.
type NetOptions struct {
	// Timeout of a run. Default: 5 s.
	Timeout time.Duration
	// SlowAfter is the response time that warns. Default: 1 s.
	SlowAfter time.Duration
}

func (o *NetOptions) normalized() NetOptions {
	var n NetOptions
	if o != nil {
		n = *o
	}
	n.Timeout = cmp.Or(n.Timeout, 5*time.Second)
	n.SlowAfter = cmp.Or(n.SlowAfter, time.Second)
	return n
}

// netCheck measures the duration of a request.
type netCheck struct {
	valid     error
	slowAfter time.Duration
	ask       func(ctx context.Context) (summary string, err error)
}

func (c *netCheck) Validate() error {
	if c.valid == nil && c.slowAfter < 0 {
		return errors.New("SlowAfter must not be negative")
	}
	return c.valid
}

func (c *netCheck) Check(ctx context.Context) health.Result {
	start := time.Now()
	summary, err := c.ask(ctx)
	took := time.Since(start)
	if err != nil {
		return health.Failed(summary, err)
	}
	return health.Result{
		Status: health.Pass, Summary: summary + " in " + durationtext.Roughly(took),
		Observed: []health.Measurement{{
			Name: "responseTime", Value: millis(took), Unit: "ms", Limits: health.Limits{Warn: millis(c.slowAfter)},
		}},
	}
}

func newNetCheck(name string, opts NetOptions, valid error, ask func(context.Context) (string, error)) health.Check {
	return health.Check{
		Name: name, Type: "component", Shared: true, Timeout: opts.Timeout,
		Checker: &netCheck{valid: valid, slowAfter: opts.SlowAfter, ask: ask},
	}
}

// HTTPOptions tune [HTTP]. The zero value and nil work.
type HTTPOptions struct {
	NetOptions
	// Header is sent with the request. Default: empty.
	Header http.Header
	// Contains must be in the first 64 KiB of the body. Default: empty, no such check.
	Contains string
	// Client sends the request, and decides about redirects. Default:
	// http.DefaultClient.
	Client *http.Client
}

// HTTP returns a check that gets a URL and expects a 2xx. Each run uses a new
// connection, so it notices a server that accepts no more connections. It is Shared and
// not critical, because most services can still do useful work when another service is
// down.
func HTTP(name, target string, opts *HTTPOptions) health.Check {
	var o HTTPOptions
	if opts != nil {
		o = *opts
	}
	o.NetOptions = o.NetOptions.normalized()
	client := o.Client
	if client == nil {
		client = http.DefaultClient
	}
	var valid error
	if u, err := url.Parse(target); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		valid = errors.New("the target must be an http or https URL")
	}
	return newNetCheck(name, o.NetOptions, valid, func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return "", err
		}
		if o.Header != nil {
			req.Header = o.Header.Clone()
		}
		req.Close = true // for a transport that withoutKept does not know
		resp, err := withoutKept(client).Do(req)
		if err != nil {
			return "no answer", err
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 { // says more than a body that is slow or breaks off
			return "", fmt.Errorf("answered %d", resp.StatusCode)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return "the answer broke off", err
		}
		if !strings.Contains(string(body), o.Contains) {
			return "", errors.New("the answer does not contain the expected text")
		}
		return fmt.Sprintf("answered %d", resp.StatusCode), nil
	})
}

// withoutKept returns a client that uses no kept connection. Such a connection still works
// while the server accepts no new one.
func withoutKept(client *http.Client) *http.Client {
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	t, ok := transport.(*http.Transport)
	if !ok {
		return client
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	c := *client
	c.Transport = t
	return &c
}

// TCP returns a check that a port ("host:port") accepts a connection. It is Shared and
// not critical.
func TCP(name, address string, opts *NetOptions) health.Check {
	o := opts.normalized()
	_, _, valid := net.SplitHostPort(address)
	return newNetCheck(name, o, valid, func(ctx context.Context) (string, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return "no connection", err
		}
		return "connected", conn.Close()
	})
}

// DNSOptions tune [DNS]. The zero value and nil work.
type DNSOptions struct {
	NetOptions
	// Resolver does the lookup. Default: net.DefaultResolver.
	Resolver *net.Resolver
}

// DNS returns a check that a host name has an address. It is Shared and not
// critical.
func DNS(name, host string, opts *DNSOptions) health.Check {
	var o DNSOptions
	if opts != nil {
		o = *opts
	}
	o.NetOptions = o.NetOptions.normalized()
	resolver := o.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	var valid error
	if host == "" {
		valid = errors.New("the host name is empty")
	}
	return newNetCheck(name, o.NetOptions, valid, func(ctx context.Context) (string, error) {
		addrs, err := resolver.LookupHost(ctx, host)
		if err != nil {
			return "no address", err
		}
		if len(addrs) == 1 {
			return "1 address", nil
		}
		return fmt.Sprintf("%d addresses", len(addrs)), nil
	})
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
