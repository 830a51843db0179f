package alert

import (
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
	// Service names what is watched; it must be the same on all replicas. Default:
	// the registry's Options.Service, or else the host's name.
	Service string
	// Instance names this replica. Default: the host's name.
	Instance string
	// StatusURL is where a person sees more; it is put into the messages. Default:
	// none.
	StatusURL string
	// Location is the time zone of the messages. Default: time.Local.
	Location *time.Location

	// MinStatus is the mildest confirmed state that is worth a message: Warn or
	// Fail. Default: Warn.
	MinStatus health.Status
	// GroupWait is how long the first message of an incident waits for other
	// checks to join. Default: 30 s.
	GroupWait time.Duration
	// GroupInterval is the least time between two messages about changes. Default:
	// 5 min.
	GroupInterval time.Duration
	// Reminders are the ages of an incident at which it is told again; the last
	// one repeats. Default: 1 h, 4 h, 24 h.
	Reminders []time.Duration
	// NoRecovery leaves out the message that all is well again. Default: false.
	NoRecovery bool
	// TellUncleanStop has Run tell when the run before it did not stop cleanly: a
	// crash, a kill, a power cut; once an hour at most. It needs a Store that
	// outlives the process and an Instance that stays the same. Default: false.
	TellUncleanStop bool
	// MaxPerHour caps the messages of any sort. Default: 20.
	MaxPerHour int
	// Windows are times of planned work. Default: none.
	Windows []Window

	// Retries are the pauses after failed deliveries, spread by 10 %; the last one
	// repeats. Default: 30 s, 2 min, 10 min, 30 min, 60 min.
	Retries []time.Duration
	// Fallback is tried whenever the last of Retries has passed in vain. Default:
	// none.
	Fallback notify.Notifier
	// SendTimeout bounds one delivery. Default: 30 s.
	SendTimeout time.Duration

	// Store keeps the state. Default: memory, so that a restart repeats the
	// message about an open incident.
	Store Store
	// Trace is told about deliveries. Default: none.
	Trace *Trace
	// Logger hears of failed deliveries and of a store that is out of reach.
	// Default: slog.Default().
	Logger *slog.Logger
}

// Trace is told about deliveries. Any hook may be nil. Hooks run on the
// alerter's goroutine and must return soon.
type Trace struct {
	// Sent is called with each message that was taken.
	Sent func(m notify.Message, took time.Duration)
	// Failed is called with each that was not.
	Failed func(m notify.Message, err error)
}

const (
	flapWindow  = time.Hour
	flapChanges = 6
	flapCalm    = 30 * time.Minute
	capWindow   = time.Hour
)

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
	n.Service = orDefault(n.Service, host)
	n.Instance = orDefault(n.Instance, host)
	n.MinStatus = orDefault(n.MinStatus, health.Warn)
	n.GroupWait = orDefault(n.GroupWait, 30*time.Second)
	n.GroupInterval = orDefault(n.GroupInterval, 5*time.Minute)
	n.MaxPerHour = orDefault(n.MaxPerHour, 20)
	n.SendTimeout = orDefault(n.SendTimeout, 30*time.Second)
	if n.Reminders == nil {
		n.Reminders = []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}
	}
	if n.Retries == nil {
		n.Retries = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	}
	if n.Location == nil {
		n.Location = time.Local
	}
	if n.Store == nil {
		n.Store = Memory()
	}
	if n.Trace == nil {
		n.Trace = new(Trace)
	}
	if n.Logger == nil {
		n.Logger = slog.Default()
	}
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
	last := time.Duration(0)
	for _, d := range o.Reminders {
		if d <= last {
			return errors.New("alert: Reminders must be positive and grow")
		}
		last = d
	}
	if o.StatusURL != "" {
		if u, err := url.Parse(o.StatusURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return errors.New("alert: StatusURL must be an http or https URL without a password in it")
		}
	}
	for i := range o.Windows {
		if err := o.Windows[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
