package alert

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoAlert is the error for an alert that is not open.
var ErrNoAlert = errors.New("alert: there is no such open alert")

// Acknowledge records that a person handles an alert, on all instances that share the
// store. Reminders and escalations end. The message about the end of the alert is still
// sent. A rise to critical is sent again and needs another acknowledgement. An alert
// about a lost instance ends.
//
// alert is an ID, the name of a check, or "check@instance". A name stands for all open
// alerts about the check. Without an open alert the error is [ErrNoAlert].
func (a *Alerter) Acknowledge(ctx context.Context, alert, by string) error {
	if by == "" || len(by) > 100 {
		return errors.New("alert: say in 1 to 100 bytes who acknowledges")
	}
	return a.change(ctx, func(d *document, now time.Time) error {
		found := false
		for k, al := range d.Alerts {
			if !al.Ended.IsZero() || al.hidden() || alert == "" || al.ID != alert && al.Name != alert && k != alert {
				continue
			}
			found = true
			al.AckBy, al.AckAt = by, now.Round(0).UTC()
			if al.Face == lost {
				d.dismiss(al, now)
			}
		}
		if !found {
			return fmt.Errorf("%w: %q", ErrNoAlert, alert)
		}
		return nil
	})
}

// dismiss ends an alert about an instance that is lost. The alert about the instance itself
// ends with those about its checks. The instance is removed from the state with its last
// alert. If it comes back, it is a new instance.
func (d *document) dismiss(al *state, now time.Time) {
	al.end(closed, now, now)
	open := false
	for _, other := range d.Alerts {
		switch {
		case other.Instance != al.Instance || !other.Ended.IsZero() || other.Face == restarts:
		case al.Name == "" && other.Face == lost:
			other.AckBy, other.AckAt = al.AckBy, al.AckAt
			other.end(closed, now, now)
		default:
			open = open || !other.hidden()
		}
	}
	if in := d.Instances[al.Instance]; in != nil && !open && (!in.Lost.IsZero() || !in.Stopped.IsZero()) {
		d.drop(al.Instance)
	}
}
