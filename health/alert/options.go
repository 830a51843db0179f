package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

// Options tune an [Alerter]. The zero value and nil work.
type Options struct {
	// Service names the service. It must be the same on all instances. Default: the
	// registry's Options.Service, or the host name if that is empty.
	Service string
	// Instance names this replica. Default: the host name.
	Instance string
	// StatusURL is a page with more details. The messages link to it. Default: empty.
	StatusURL string
	// Location is the time zone of the messages, of Windows, and of the hours of
	// receivers. Default: time.Local.
	Location *time.Location

	// Receivers are additional receivers beside the notifier given to New, each with
	// its own routes. Default: empty.
	Receivers []Receiver
	// Language of the messages, "en" or "es". Default: "en".
	Language string
	// Templates replace the texts of the messages. Default: those of the language.
	Templates *Templates

	// MinStatus is the mildest confirmed state that is an alert: Warn or Fail.
	// Default: Warn.
	MinStatus health.Status
	// GroupWait is how long a new alert waits for others that belong in the same
	// message. Default: 30 s.
	GroupWait time.Duration
	// GroupInterval is the least time between two messages of a thread, unless an
	// alert becomes critical. Default: 5 min.
	GroupInterval time.Duration
	// Reminders are the ages of an alert at which a reminder is sent. The last one
	// repeats. An empty slice that is not nil means no reminders. Default: 1 h, 4 h, 24
	// h.
	Reminders []time.Duration
	// TellUncleanStop opens an alert at the first start after a run that did not stop
	// cleanly, such as a crash, a kill or a power failure. Default: false, which opens
	// an alert after three such starts within an hour. Both need a Store that outlives
	// the process and an Instance that stays the same.
	TellUncleanStop bool
	// ForgetLost suppresses the alert about an instance that was well when it stopped
	// sending heartbeats. A failing instance that disappears is always reported.
	// Default: false.
	ForgetLost bool
	// MaxPerHour limits the messages to one receiver. Alerts that become critical are
	// exempt. Default: 20.
	MaxPerHour int
	// Windows are times of planned work. Default: empty.
	Windows []Window

	// LinkSecret signs the links of the messages that acknowledge and silence alerts.
	// All instances need the same secret of at least 16 bytes. Default: no links.
	LinkSecret []byte
	// LinkURL is the public address of the handler that [Alerter.Handler] returns.
	// Required with LinkSecret.
	LinkURL string

	// Retries are the pauses after failed deliveries. The last one repeats. A critical
	// alert is tried again at least once a minute in the first hour. After two failures
	// in a row each message has one alert, and a new alert does not wait, so an alert that
	// the receiver rejects stops no other. Default: 30 s, 2 min, 10 min, 30 min, 60 min.
	Retries []time.Duration
	// Fallback receives the messages that another receiver did not accept after all
	// Retries. It gets a critical alert at once if the receiver asks for a pause of more
	// than a minute. Default: nil.
	Fallback notify.Notifier
	// SendTimeout limits one delivery, even if the notifier ignores its context.
	// Default: 30 s.
	SendTimeout time.Duration

	// Store keeps the state. Default: memory. A restart then repeats the messages about
	// open alerts.
	Store Store
	// Trace is called with the outcome of deliveries. Default: nil.
	Trace *Trace
	// Logger receives failed deliveries and errors of the store. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Trace has hooks for deliveries. Each may be nil. They run on goroutines of the
// alerter and must return quickly. A hook that panics is logged.
type Trace struct {
	// Delivery is called after each attempt.
	Delivery func(context.Context, DeliveryEvent)
}

// DeliveryEvent is one attempt to deliver a message.
type DeliveryEvent struct {
	// Receiver is the name of the receiver.
	Receiver string
	// Message is the message as it was sent.
	Message notify.Message
	// Took is the duration of the attempt.
	Took time.Duration
	// Err is nil if the receiver accepted the whole message. A notify.DeliveryError in it
	// names the accepted alerts.
	Err error
}

const capWindow = time.Hour

func (o *Options) normalized(reg *health.Registry) (Options, error) {
	var n Options
	if o != nil {
		n = *o
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if n.Service == "" {
		n.Service = reg.Snapshot().Service
	}
	n.Service = cmp.Or(n.Service, host)
	n.Instance = cmp.Or(n.Instance, host)
	n.Language = cmp.Or(n.Language, "en")
	n.MinStatus = cmp.Or(n.MinStatus, health.Warn)
	n.GroupWait = cmp.Or(n.GroupWait, 30*time.Second)
	n.GroupInterval = cmp.Or(n.GroupInterval, 5*time.Minute)
	n.MaxPerHour = cmp.Or(n.MaxPerHour, 20)
	n.SendTimeout = cmp.Or(n.SendTimeout, 30*time.Second)
	if n.Reminders == nil {
		n.Reminders = []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}
	}
	if n.Retries == nil {
		n.Retries = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	}
	n.Location = cmp.Or(n.Location, time.Local)
	if n.Store == nil {
		n.Store = Memory()
	}
	n.Trace = cmp.Or(n.Trace, new(Trace))
	n.Logger = cmp.Or(n.Logger, slog.Default())
	return n, n.validate()
}

func (o *Options) validate() error {
	if o.MinStatus != health.Warn && o.MinStatus != health.Fail {
		return fmt.Errorf("alert: MinStatus %v: use health.Warn or health.Fail", o.MinStatus)
	}
	if o.GroupWait < 0 || o.GroupInterval < 0 || o.SendTimeout < 0 || o.MaxPerHour < 0 {
		return errors.New("alert: GroupWait, GroupInterval, SendTimeout and MaxPerHour must not be negative")
	}
	if o.MaxPerHour < 2 {
		return errors.New("alert: MaxPerHour must be at least 2, one for a problem and one for its end")
	}
	if len(o.Retries) == 0 {
		return errors.New("alert: Retries must not be empty: a message that failed has to be tried again")
	}
	for _, d := range o.Retries {
		if d <= 0 {
			return fmt.Errorf("alert: Retries contains %v", d)
		}
	}
	if err := growing(o.Reminders); err != nil {
		return err
	}
	if o.StatusURL != "" {
		if u, err := url.Parse(o.StatusURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return errors.New("alert: StatusURL must be an http or https URL without a password in it")
		}
	}
	if len(o.LinkSecret) > 0 || o.LinkURL != "" {
		if u, err := url.Parse(o.LinkURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			return errors.New("alert: LinkURL must be the public http or https URL of Alerter.Handler, without a password or a query")
		}
		if len(o.LinkSecret) < 16 {
			return errors.New("alert: LinkSecret must have at least 16 bytes")
		}
	}
	var err error
	o.Windows, err = ready(o.Windows, o.Location)
	return err
}

func growing(reminders []time.Duration) error {
	last := time.Duration(0)
	for _, d := range reminders {
		if d <= last {
			return errors.New("alert: Reminders must be positive and grow")
		}
		last = d
	}
	return nil
}
