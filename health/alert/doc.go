// Package alert sends notifications about the checks of a health registry.
//
//	alerts, err := alert.New(reg, mail, &alert.Options{Store: alert.File("/var/lib/pos/alerts.json")})
//	if err != nil { … }
//	go alerts.Run(ctx)
//
// # Alerts
//
// A check that is confirmed bad opens an alert. Each check on each instance has its own
// alert, with its own key, severity, acknowledgement and end. A check that is marked
// Shared, such as the database, has one alert for all instances. An alert ends as
// recovered only when an instance that saw the failure sees the check pass. An instance
// that stops sending heartbeats is lost, and so are its alerts, until it reports again
// or a person acknowledges them.
//
// # Messages
//
// The first message is sent 30 s after the first change, so that five checks that fail
// together make one message. A rise to critical is never delayed further. Other changes
// follow at most every 5 minutes. While an alert lasts, reminders follow after 1 h,
// after 4 h and then daily, unless a person acknowledges it. Alerts whose first message
// is shared also share one mail thread. Services that manage alerts, such as PagerDuty,
// get an event for each alert.
//
// A check that changes its state six times within an hour is flapping. This is reported
// once and with the reminders, and ends after half an hour without a change. A check
// that depends on another bad one is only mentioned, if its receiver gets the alert about
// that one. While all checks are
// well, no message is sent.
//
// # Receivers
//
// Each [Receiver] has its own routes, hours, retries and delivery state. A receiver
// that is unreachable or hangs delays only its own messages. It gets them as soon as it
// responds.
//
// # State
//
// The state is one JSON document in a [Store]: in memory, in a file that a command and
// a server may share, or in Redis for all instances of a service (package redisalert).
// Delivery is at least once. A crash between a delivery and its record repeats the
// message. An alert that may have reached a receiver gets its end. When the store is unreachable, every instance sends its own messages,
// because a repeated message is better than a lost one.
package alert
