package alert

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// Receiver is a person or a service that gets notifications, and its routes. Each
// receiver has its own delivery state. A receiver that is unreachable, slow or hanging
// delays only its own messages. It gets them as soon as it responds.
type Receiver struct {
	// Name identifies the receiver in the stored state. Processes that share a
	// store also share the delivery state of a receiver with the same name.
	// Required.
	Name string
	// Notifier delivers the messages. Required.
	Notifier notify.Notifier

	// MinLevel is notify.Warning for all alerts or notify.Critical for critical alerts
	// only. Default: notify.Warning.
	MinLevel notify.Level
	// Checks are patterns of check names, as in path.Match. Alerts about an
	// instance itself have an empty name. Default: all checks.
	Checks []string
	// Instances are patterns of instance names. Default: all instances.
	Instances []string
	// Hours are the times in which the receiver gets messages. An alert outside these
	// times is sent at the next such time if it still lasts. The field Checks of the
	// windows is not used. Default: always.
	Hours []Window
	// After makes the receiver an escalation. It gets an alert that no person has
	// acknowledged for that long. The time of a silence or of a window does not count.
	// Default: 0, at once.
	After time.Duration

	// Reminders are the ages of an alert at which a reminder is sent, counted from the
	// message about its beginning. The last one repeats. An acknowledged alert has no
	// reminders. An empty slice that is not nil means no reminders. Default:
	// Options.Reminders.
	Reminders []time.Duration
	// NoRecovery suppresses messages about the end of an alert. Default: false.
	NoRecovery bool
	// Language of the messages, "en" or "es". Default: Options.Language.
	Language string
	// Templates replace the texts. Default: Options.Templates.
	Templates *Templates
}

// receiver is a Receiver ready for use.
type receiver struct {
	Receiver
	// primary is set for Options.Fallback, which gets the messages that the primary
	// receiver cannot accept.
	primary    *receiver
	fallbackOf string
	words      *words
	texts      *texts
}

// fallbackSuffix is not allowed in names.
const fallbackSuffix = "/fallback"

func (o *Options) receivers(to notify.Notifier) ([]*receiver, error) {
	var list []Receiver
	channels := []notify.Notifier{to}
	if m, ok := to.(*notify.Multi); ok && m != nil {
		channels = m.Notifiers() // each channel has its own delivery state
	} else if to == nil {
		channels = nil
	}
	for i, n := range channels {
		name := "default" // keeps its name, and so its delivery state, when a second channel is added
		if i > 0 {
			name = fmt.Sprintf("default-%d", i+1)
		}
		list = append(list, Receiver{Name: name, Notifier: n})
	}
	list = append(list, o.Receivers...)
	if len(list) == 0 {
		return nil, fmt.Errorf("alert: New needs a notifier or Options.Receivers")
	}
	var all []*receiver
	seen := map[string]bool{}
	for _, rc := range list {
		r := &receiver{Receiver: rc}
		if err := r.normalize(o); err != nil {
			return nil, err
		}
		if seen[r.Name] {
			return nil, fmt.Errorf("alert: there are two receivers named %q; the name identifies its delivery state", r.Name)
		}
		seen[r.Name] = true
		all = append(all, r)
	}
	if o.Fallback != nil {
		for _, r := range all[:len(all):len(all)] {
			all = append(all, &receiver{
				Receiver: Receiver{Name: r.Name + fallbackSuffix, Notifier: o.Fallback, Reminders: r.Reminders},
				primary:  r, fallbackOf: r.Name, words: r.words, texts: r.texts,
			})
		}
	}
	return all, nil
}

func (r *receiver) normalize(o *Options) (err error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("alert: receiver %q: "+format, append([]any{r.Name}, args...)...)
	}
	if r.Name == "" || strings.ContainsAny(r.Name, "/\x00") || len(r.Name) > 64 {
		return wrong("a name has 1 to 64 characters and no slash")
	}
	if r.Notifier == nil {
		return wrong("has no Notifier")
	}
	r.MinLevel = cmp.Or(r.MinLevel, notify.Warning)
	if r.MinLevel != notify.Warning && r.MinLevel != notify.Critical {
		return wrong("MinLevel %v: use notify.Warning or notify.Critical", r.MinLevel)
	}
	for _, p := range append(append([]string(nil), r.Checks...), r.Instances...) {
		if _, err := path.Match(p, "x"); err != nil {
			return wrong("the pattern %q cannot be read", p)
		}
	}
	if r.Hours, err = ready(r.Hours, o.Location); err != nil {
		return err
	}
	if r.After < 0 {
		return wrong("After must not be negative")
	}
	if r.Reminders == nil {
		r.Reminders = o.Reminders
	}
	if err := growing(r.Reminders); err != nil {
		return err
	}
	if r.words, err = wordsOf(cmp.Or(r.Language, o.Language)); err != nil {
		return err
	}
	r.texts, err = parseTexts(cmp.Or(r.Templates, o.Templates))
	return err
}
