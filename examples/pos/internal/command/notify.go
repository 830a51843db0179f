package command

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
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

// newAlertState stores the state of the alerts in the database. The servers on it and the command
// "health --notify" share the state, so one alert makes one message. While the database is
// unavailable, the leader and the command use a copy in a file of the data folder, and the other
// servers send nothing. The state of the file returns to the database with it.
func newAlertState(s *settings.Settings, st func() *store.Store, leads func() bool) alert.Store {
	return alert.Fallback(&alertState{st, leads}, alert.File(filepath.Join(s.Data, "alerts.json")), instance(s))
}

// alertState is the state of the alerts in the database.
type alertState struct {
	store func() *store.Store // nil if the store could not be opened
	leads func() bool
}

const alertsKey = "alerts"

// Update runs f under a lease, so that only one process runs it at a time. Without the database,
// only the leader receives its error, and the other servers stand by.
func (a *alertState) Update(ctx context.Context, f func([]byte) ([]byte, error)) error {
	st := a.store()
	if st == nil {
		return errors.New("the database is not open")
	}
	held, err := st.Lease(ctx, alertsKey, holder(), 2*time.Minute)
	var kept string
	if held {
		defer func() { _ = st.Release(context.WithoutCancel(ctx), alertsKey, holder()) }()
		kept, _, err = st.Meta(ctx, alertsKey)
	}
	switch {
	case err != nil && a.leads():
		return err
	case err != nil:
		return alert.ErrStandby
	case !held:
		return alert.ErrBusy
	}
	next, err := f([]byte(kept))
	if err != nil || string(next) == kept {
		return err
	}
	return st.SetMeta(ctx, alertsKey, string(next))
}
