package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/mainstay-go/mainstay/internal/foreign"
)

// DeliveryError is the error of a [Notifier] that knows which alerts of the message
// arrived. After any other error, the receiver may have each alert or not. Package
// health/alert then also sends the end of each of them.
type DeliveryError struct {
	// Accepted are the keys of the alerts that the receiver has.
	Accepted []string
	// Refused are the keys of the alerts that the receiver certainly does not have: the
	// request was not sent, or the receiver responded that it does not accept it.
	Refused []string
	// Err is the reason.
	Err error
}

// Refused returns the error of a message that the receiver certainly does not have, not
// even in part.
func Refused(m Message, err error) error {
	e := &DeliveryError{Err: err}
	for _, a := range m.Alerts {
		e.Refused = append(e.Refused, a.Key)
	}
	return e
}

// Error returns the text of Err.
func (e *DeliveryError) Error() string {
	if e.Err == nil {
		return "notify: the receiver has only a part of the message"
	}
	return e.Err.Error()
}

// Unwrap returns Err.
func (e *DeliveryError) Unwrap() error { return e.Err }

// certainty is the outcome of a delivery of one alert.
type certainty int

const (
	unknown certainty = iota
	accepted
	refused
)

// outcomes are the outcomes of a message, one for each of its alerts.
type outcomes []certainty

// whole returns outcomes of n alerts with the same outcome.
func whole(n int, c certainty) outcomes {
	all := make(outcomes, n)
	for i := range all {
		all[i] = c
	}
	return all
}

// outcomesOf reads the outcomes of the alerts of m from the error of a delivery.
func outcomesOf(m Message, err error) outcomes {
	if err == nil {
		return whole(len(m.Alerts), accepted)
	}
	all := whole(len(m.Alerts), unknown)
	var known *DeliveryError
	if !errors.As(err, &known) {
		return all
	}
	byKey := map[string]certainty{}
	for _, key := range known.Refused {
		byKey[key] = refused
	}
	for _, key := range known.Accepted {
		byKey[key] = accepted
	}
	for i, a := range m.Alerts {
		all[i] = byKey[a.Key]
	}
	return all
}

// and combines the outcomes of two recipients that both must have the message.
func (o outcomes) and(other outcomes) outcomes {
	all := make(outcomes, len(o))
	for i := range o {
		if o[i] == other[i] {
			all[i] = o[i]
		}
	}
	return all
}

// failure returns the error of a message with these outcomes.
func (o outcomes) failure(m Message, err error) error {
	e := &DeliveryError{Err: err}
	for i, a := range m.Alerts {
		switch o[i] {
		case accepted:
			e.Accepted = append(e.Accepted, a.Key)
		case refused:
			e.Refused = append(e.Refused, a.Key)
		}
	}
	return e
}

// check returns an error if a notifier cannot send the whole message.
func (m Message) check() error {
	if n := len(m.Alerts); n > MaxAlerts {
		return Refused(m, fmt.Errorf("notify: the message has %d alerts, and a message holds %d; send the others in a message of their own", n, MaxAlerts))
	}
	return nil
}

// attempt calls a Notifier. A broken channel must not end the process that reports
// problems. So a panic becomes an error, and the methods of the returned error work.
func attempt(ctx context.Context, log *slog.Logger, n Notifier, m Message) error {
	var err error
	if fault := foreign.Call(func() { err = n.Notify(ctx, m) }); fault != nil {
		log.ErrorContext(ctx, "notify: a channel failed", "error", forms.Text(fault.Text, 1000), "stack", forms.Lines(fault.Stack))
		return fmt.Errorf("notify: a channel %w", fault)
	}
	return foreign.Error(err)
}
