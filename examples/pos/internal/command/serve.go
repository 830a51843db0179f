package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/logfile"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// serve runs the server until a signal ends it.
func serve(ctx context.Context, env Env, args []string) int {
	if wantsHelp(args) {
		usage(env.Stdout)
		return exitOK
	}
	s, rest, err := settings.Load(args, env.Getenv)
	if err == nil && len(rest) > 0 {
		err = leftover(rest)
	}
	if err != nil {
		return refuse(env, err)
	}
	// Signals are caught from here on. A signal while the demo data is written ends the start, but
	// does not kill the process.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	unlock, err := store.Lock(s)
	if err != nil {
		return refuse(env, err)
	}
	defer unlock()
	listener, err := listen(ctx, s.Addr)
	if err != nil {
		return refuse(env, err)
	}
	defer listener.Close()
	st, err := store.Open(ctx, s)
	if err != nil {
		return refuse(env, err)
	}
	defer func() { _ = st.Close() }()

	logger, logFile := logfile.New(env.Stderr, s.LogFile(), slog.LevelInfo)
	defer logFile.Close()
	srv, err := newServer(ctx, env, s, st, logger)
	if err != nil {
		return refuse(env, err)
	}
	defer srv.close()
	fmt.Fprintf(env.Stdout, "pos: listening on http://%s/\n", listener.Addr())
	if err := srv.run(ctx, listener, signals); err != nil {
		logger.Error("stopped", "error", err)
		return exitFailed
	}
	return exitOK
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, settings.Errorf("--addr %s: the port is in use, perhaps by another server; choose another --addr", addr)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, settings.Errorf("--addr %s: cannot listen: %s", addr, err)
}

// server has all parts that run while the shop is open.
type server struct {
	settings *settings.Settings
	parts    *parts
	handler  http.Handler
	logger   *slog.Logger
}

func newServer(ctx context.Context, env Env, s *settings.Settings, st *store.Store, logger *slog.Logger) (*server, error) {
	if err := fillShop(ctx, s, st, logger); err != nil {
		return nil, err
	}
	secrets, err := firstStart(ctx, env.Stdout, s, st)
	if err != nil {
		return nil, err
	}
	p, err := newParts(s, st, secrets, false, logger)
	if err != nil {
		return nil, err
	}
	handler, err := api.New(api.Config{
		Settings: s, Store: st, Sessions: p.sessions, Caches: p.caches, Calendar: calendar(s), Metrics: p.metrics, Health: p.health, Uptime: p.uptime, Alerts: p.alerts, Limiter: p.limiter, Concurrency: p.concurrency,
		CursorSecret: secrets.cursor, Operator: secrets.operator, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return &server{settings: s, parts: p, handler: handler, logger: logger}, nil
}

func (s *server) close() { _ = s.parts.close() }

// finish is the time for running requests after the drain.
const finish = 30 * time.Second

// run serves until a signal comes, and then stops in this order. First /ready/ returns 503, so
// that load balancers send no more requests. Then the listener closes and running requests end.
// Then background work ends, and the database closes last.
func (s *server) run(ctx context.Context, listener net.Listener, signals <-chan os.Signal) error {
	background, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait() // also if Serve fails
	defer stop()
	for name, job := range s.parts.jobs() {
		work.Go(func() {
			if err := job(background); err != nil && background.Err() == nil {
				s.logger.Error("background work ended", "job", name, "error", err)
			}
		})
	}
	web := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	s.logger.Info("serving", "address", listener.Addr().String())
	select {
	case err := <-served:
		return err
	case sig := <-signals:
		s.logger.Info("draining", "signal", sig.String(), "for", s.settings.Drain)
	case <-ctx.Done():
	}
	s.parts.health.Drain()
	select {
	case <-time.After(s.settings.Drain):
	case <-signals: // a second signal: stop at once
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	err := web.Shutdown(closing)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were still running after %s", finish), web.Close())
	}
	stop()
	work.Wait()
	s.logger.Info("stopped")
	return err
}
