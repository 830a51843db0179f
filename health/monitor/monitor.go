// Package monitor joins the parts of health for a service in production: checks,
// endpoints, alerts with their receivers, history, pages and a heartbeat.
//
//	mon, err := monitor.New(checks, mail, &monitor.Options{
//		Health:  health.Options{Service: "pos", Authorize: health.BearerToken(token)},
//		History: history.Options{Password: os.Getenv("STATUS_PASSWORD")},
//		Folder:  "/var/lib/pos/health",
//		URL:     "https://pos.example.com",
//	})
//	if err != nil {
//		return err
//	}
//	mon.Mount(mux)
//	return mon.Run(ctx)
//
// The parts stay available as fields of the [Monitor].
package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/internal/keyfile"
	"github.com/mainstay-go/mainstay/notify"
)

// Options tune a [Monitor]. New fills the empty fields of Health, Alert and History
// that connect the parts.
type Options struct {
	// Folder stores alerts, history and the key of the links. All instances on one host
	// may share it. Default: empty. Then Alert.Store and Store are required.
	Folder string
	// Store stores the history. Instances on several hosts need a store in Redis or in
	// a database. The same applies to Alert.Store. Default: files in Folder.
	Store history.Store
	// URL is the public address of the service, which messages link to. Default: empty,
	// and no links.
	URL string

	// Health tunes the checks and endpoints. Its Heartbeat reports to an external
	// watcher.
	Health health.Options
	// Alert tunes the alerts. Its Receivers have their own routes.
	Alert alert.Options
	// History tunes the pages. With a Password, the link in a mail opens in a browser.
	History history.Options
}

// Monitor watches a service. Create one with [New]. All methods are safe for
// concurrent use.
type Monitor struct {
	// Health runs the checks. Add and remove checks there.
	Health *health.Registry
	// Alerts sends the notifications. Acknowledge and silence alerts there.
	Alerts *alert.Alerter
	// History keeps the results and serves the pages under /uptime/.
	History *history.History

	links  bool
	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc // of Run; nil = Run is not running
	ended  chan struct{}
}

// New returns a Monitor of the given checks that notifies to. With
// Options.Alert.Receivers, to may be nil. New writes the key of the links into the
// folder. It starts no goroutine and sends no message. Call [Monitor.Run].
func New(checks []health.Check, to notify.Notifier, opts *Options) (*Monitor, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.fill(); err != nil {
		return nil, err
	}
	m := &Monitor{links: len(o.Alert.LinkSecret) > 0}
	var err error
	if m.Health, err = health.New(checks, &o.Health); err != nil {
		return nil, err
	}
	if m.Alerts, err = alert.New(m.Health, to, &o.Alert); err != nil {
		return nil, err
	}
	if m.History, err = history.New(m.Health, o.Store, &o.History); err != nil {
		return nil, err
	}
	m.Health.AddNotices(m.Alerts.Notices)
	m.Health.SetAlerts(m.Alerts.Alerts)
	return m, nil
}

// fill connects the options of the parts.
func (o *Options) fill() error {
	if o.Folder == "" && (o.Store == nil || o.Alert.Store == nil) {
		return errors.New("monitor: name a Folder, or set Store and Alert.Store")
	}
	if o.Folder != "" {
		if err := os.MkdirAll(o.Folder, 0o700); err != nil {
			return fmt.Errorf("monitor: %w", err)
		}
	}
	if o.Alert.Store == nil {
		o.Alert.Store = alert.File(filepath.Join(o.Folder, "alerts.json"))
	}
	if o.Store == nil {
		store, err := history.Files(filepath.Join(o.Folder, "history"))
		if err != nil {
			return err
		}
		o.Store = store
	}
	o.History.Instance = cmp.Or(o.History.Instance, o.Alert.Instance)
	if o.History.Authorize == nil {
		o.History.Authorize = o.Health.Authorize
	}
	o.Alert.Logger = cmp.Or(o.Alert.Logger, o.Health.Logger)
	o.History.Logger = cmp.Or(o.History.Logger, o.Health.Logger)
	o.Health.Secrets = append(o.Health.Secrets[:len(o.Health.Secrets):len(o.Health.Secrets)], o.History.Password)
	return o.link()
}

// link sets the links from the messages to the pages.
func (o *Options) link() error {
	if o.URL == "" {
		return nil
	}
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("monitor: URL must be the public http or https address of the service")
	}
	base := strings.TrimSuffix(o.URL, "/")
	if o.Alert.StatusURL == "" {
		o.Alert.StatusURL = base + "/uptime/"
	}
	if o.Alert.LinkURL == "" && (len(o.Alert.LinkSecret) > 0 || o.Folder != "") {
		o.Alert.LinkURL = base + "/alert/"
	}
	if o.Alert.LinkURL == "" || len(o.Alert.LinkSecret) > 0 {
		return nil
	}
	key, err := keyfile.Read(filepath.Join(o.Folder, "link.key"))
	if err != nil {
		return fmt.Errorf("monitor: the key of the links: %w", err)
	}
	o.Alert.LinkSecret = key
	return nil
}

// Mount registers the endpoints of health, the pages under /uptime/, and the links of
// the messages under /alert/.
func (m *Monitor) Mount(mux *http.ServeMux) {
	m.Health.Mount(mux)
	m.History.Mount(mux)
	if m.links {
		mux.Handle("GET /alert/{$}", m.Alerts.Handler())
		mux.Handle("POST /alert/{$}", m.Alerts.Handler())
	}
}

// Run runs the checks, sends alerts and saves the history until ctx ends or Close is
// called.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	if m.closed || m.cancel != nil {
		m.mu.Unlock()
		return errors.New("monitor: Run is already at work, or the monitor is closed")
	}
	m.cancel, m.ended = cancel, make(chan struct{})
	ended := m.ended
	m.mu.Unlock()
	runs := []func(context.Context) error{m.Health.Run, m.Alerts.Run, m.History.Run}
	errs := make([]error, len(runs))
	var all sync.WaitGroup
	for i, run := range runs {
		all.Go(func() {
			errs[i] = run(ctx)
			cancel()
		})
	}
	all.Wait()
	m.mu.Lock()
	m.cancel = nil
	m.mu.Unlock()
	close(ended)
	return errors.Join(errs...)
}

// Close ends Run and returns after Run has returned. The stores and clients in the
// options stay open.
func (m *Monitor) Close() error {
	m.mu.Lock()
	m.closed = true
	cancel, ended := m.cancel, m.ended
	m.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	return nil
}
