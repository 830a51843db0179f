package mainstay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// HTTPOptions tune HTTP. The zero value is ready to use.
type HTTPOptions struct {
	// Listener is used instead of a new listener on the server's Addr. Default nil.
	Listener net.Listener
	// Drain is called first when the server must stop. Pass the Drain method of the health
	// package's checks: readiness then responds 503 while requests are still served.
	// Default nil.
	Drain func()
	// DrainDelay is the time between Drain and the end of new connections. Load balancers
	// must notice the change within this time. It is skipped without Drain. Default 5 s.
	DrainDelay time.Duration
	// ShutdownTimeout is the limit for requests in flight. Their connections are then
	// closed. Default 20 s.
	ShutdownTimeout time.Duration
}

// HTTP returns the part that serves HTTP and stops without losing a request: it reports not
// ready, waits until load balancers have noticed, finishes the requests in flight and
// closes. List it last, so that it stops first.
//
// A server whose TLSConfig has a certificate serves HTTPS, with HTTP/2. The listener must
// then be a listener without TLS. A service with both protocols has two parts with
// the same handler.
//
// The part's Run returns an error if the port is in use, or if it had to interrupt
// requests.
func HTTP(name string, server *http.Server, opts *HTTPOptions) Part {
	var o HTTPOptions
	if opts != nil {
		o = *opts
	}
	if o.DrainDelay < 0 || o.ShutdownTimeout < 0 {
		err := fmt.Errorf("mainstay: DrainDelay %v or ShutdownTimeout %v is negative", o.DrainDelay, o.ShutdownTimeout)
		return Part{Name: name, Run: func(context.Context) error { return err }}
	}
	o.DrainDelay = cmp.Or(o.DrainDelay, 5*time.Second)
	if o.Drain == nil {
		o.DrainDelay = 0
	}
	o.ShutdownTimeout = cmp.Or(o.ShutdownTimeout, 20*time.Second)
	return Part{Name: name, Run: func(ctx context.Context) error { return serve(ctx, server, o) }}
}

// hasCertificate reports whether a server can serve TLS. A package for HTTP/2 may have set a config without one.
func hasCertificate(c *tls.Config) bool {
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

func serve(ctx context.Context, server *http.Server, o HTTPOptions) error {
	secure := hasCertificate(server.TLSConfig)
	listener := o.Listener
	if listener == nil {
		addr := server.Addr
		if addr == "" {
			addr = ":http"
			if secure {
				addr = ":https"
			}
		}
		var err error
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err != nil {
			return err
		}
	}
	served := make(chan error, 1)
	go func() {
		if secure {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	if o.Drain != nil {
		o.Drain()
		select {
		case err := <-served: // the server failed during the drain
			return err
		case <-time.After(o.DrainDelay):
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.ShutdownTimeout)
	defer cancel()
	err := server.Shutdown(closing)
	if err != nil {
		err = errors.Join(errors.New("requests were cut off, because they took longer than the shutdown timeout"), err, server.Close())
	}
	if serving := <-served; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}
