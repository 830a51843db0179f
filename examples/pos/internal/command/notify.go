package command

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/api"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// notifier is the channel to the receivers of --smtp and --receivers, or nil if there is
// none.
func notifier(s *settings.Settings, logger *slog.Logger) (notify.Notifier, error) {
	return s.Notifier(&notify.EmailOptions{Logger: logger}, &notify.MultiOptions{Logger: logger})
}

// alertOptions are those of the server. A message links to the status page, and to a
// page that acknowledges or silences the alert.
func alertOptions(s *settings.Settings, sec *secrets, state alert.Store, logger *slog.Logger) *alert.Options {
	o := &alert.Options{Instance: instance(s), Store: state, StatusURL: statusURL(s), Logger: logger}
	if s.PublicURL != "" && len(sec.tokens) > 0 {
		sum := sha256.Sum256(append([]byte("links of alerts\x00"), sec.tokens...)) // the same on all servers of a database
		o.LinkURL, o.LinkSecret = s.PublicURL+api.AlertsPath, sum[:]
	}
	return o
}

func statusURL(s *settings.Settings) string {
	if s.PublicURL == "" {
		return ""
	}
	return s.PublicURL + "/uptime/" // it has a form for the operations token
}

// outbox is the folder of messages that were not delivered yet.
func outbox(s *settings.Settings) string { return filepath.Join(s.Data, "outbox") }

// instance is the name of this server in alerts and on the uptime pages. Several servers of one
// database may run on one host. "pos health" has the same name with the same settings.
func instance(s *settings.Settings) string {
	host, err := os.Hostname()
	if err != nil || s.Database.Engine == settings.SQLite { // a single server; "" is the library's default
		return host
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	return host + ":" + port
}

// holder is the name of this process among all processes on one database.
var holder = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8])
})

// alertState stores the last notifications in the database. The servers on it and the command
// "health --notify" share the state, so one alert makes one mail. While the database is
// unavailable, the leader keeps the state in a file of its data folder, and the other servers
// send nothing.
type alertState struct {
	store func() *store.Store // nil if the store could not be opened
	file  alert.Store
	leads func() bool
}

func newAlertState(s *settings.Settings, st func() *store.Store, leads func() bool) alert.Store {
	return &alertState{st, alert.File(filepath.Join(s.Data, "alerts.json")), leads}
}

const alertsKey = "alerts"

// Update runs f under a lease, so that only one process runs it at a time.
func (a *alertState) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	st := a.store()
	if st == nil {
		return a.file.Update(ctx, f)
	}
	held, err := st.Lease(ctx, alertsKey, holder(), 2*time.Minute)
	switch {
	case err != nil && a.leads():
		return a.file.Update(ctx, f)
	case err != nil, !held:
		return alert.ErrBusy // another server sends the messages
	}
	defer func() { _ = st.Release(context.WithoutCancel(ctx), alertsKey, holder()) }()
	kept, found, err := st.Meta(ctx, alertsKey)
	if err != nil {
		return err
	}
	var state []byte
	if found {
		state = []byte(kept)
	}
	next, err := f(state)
	if err != nil || string(next) == kept {
		return err
	}
	return st.SetMeta(ctx, alertsKey, string(next))
}
