// Package shopcache caches responses: the bytes that a client receives.
//
// The key of a value contains the versions of the data that it shows, and a sale changes
// versions in its own transaction. Old values have old versions in their keys, so a server that
// was killed or a Redis from an old snapshot cannot show them. Balances are not cached, because
// a balance costs the database one read by primary key.
package shopcache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/driver"
	"github.com/mainstay-go/mainstay/contrib/prommetrics"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// Lifetimes of responses whose versions do not change.
const (
	dashboardTTL = time.Minute
	productTTL   = 5 * time.Minute
	categoryTTL  = 10 * time.Minute
	reportTTL    = 30 * time.Minute
)

// Responses are cached responses of one kind.
type Responses = cache.Typed[[]byte]

// Caches are the shop's caches.
type Caches struct {
	Categories, Dashboard, Products, Reports *Responses

	versions versions
}

// New returns the caches. They use the store that replicas share, or the memory of this process
// if shared is nil. Memory may keep a value as long as Redis does, because a value never
// changes under its versions.
func New(st *store.Store, shared driver.Store, logger *slog.Logger) (*Caches, error) {
	s := &Caches{versions: versions{load: st.Versions}}
	var errs []error
	for _, c := range []struct {
		to   **Responses
		name string
		ttl  time.Duration
	}{
		{&s.Categories, "categories", categoryTTL},
		{&s.Dashboard, "dashboard", dashboardTTL},
		{&s.Products, "products", productTTL},
		{&s.Reports, "reports", reportTTL},
	} {
		var err error
		*c.to, err = cache.New(shared, c.name, c.ttl, &cache.Options[[]byte]{Codec: cache.Raw(), OutageTTL: c.ttl, Logger: logger})
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// Versions returns the versions of the database, at most 0.4 s old.
func (s *Caches) Versions(ctx context.Context) (store.Versions, error) { return s.versions.get(ctx) }

// Changed must be called after a change by this server, so that its own readers see the change
// at once.
func (s *Caches) Changed() { s.versions.forget() }

// All returns the caches for their metrics.
func (s *Caches) All() []prommetrics.Reporter[cache.Stats] {
	return []prommetrics.Reporter[cache.Stats]{s.Categories, s.Dashboard, s.Products, s.Reports}
}

// remembered is how long a server uses the versions that it read. For that time another server
// may show the state before a sale.
const remembered = 400 * time.Millisecond

// versions keeps the versions of the database for a short time, so that most requests for
// cached responses need no statement.
type versions struct {
	load func(context.Context) (store.Versions, error)

	mu      sync.Mutex
	last    store.Versions
	read    time.Time // when the read of last began
	changes int
}

func (v *versions) get(ctx context.Context) (store.Versions, error) {
	read := time.Now()
	v.mu.Lock()
	last, fresh, changes := v.last, v.last != nil && read.Sub(v.read) < remembered, v.changes
	v.mu.Unlock()
	if fresh {
		return last, nil
	}
	loaded, err := v.load(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changes == changes && read.After(v.read) {
		v.last, v.read = loaded, read
	}
	return loaded, nil
}

func (v *versions) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	v.last = nil
}
