// Package alert notifies people about the checks of a health registry.
//
//	alerts, err := alert.New(reg, mail, &alert.Options{Store: alert.File("/var/lib/pos/alerts.json")})
//	if err != nil { … }
//	go alerts.Run(ctx)
//
// # Alerts
//
// A check that is confirmed bad opens an alert. Each check on each instance has
// its own alert, with its own key, severity, acknowledgement and end. A check
// that is marked Shared, such as the database, has one alert for all instances.
// An alert ends as recovered only when an instance that saw it bad sees it pass.
// An instance that stops sending heartbeats is lost, and so are its alerts, until
// it reports again or a person acknowledges them.
//
// # Messages
//
// The first message goes out 30 s after the first change, so that five checks
// that fail together make one message. A rise to critical is never delayed
// further. Other changes follow at most every 5 minutes. While an alert lasts,
// reminders follow after 1 h, after 4 h and then daily, unless a person
// acknowledges it. Alerts that are first told together share one mail thread.
// Services that manage alerts, such as PagerDuty, get an event for each alert.
//
// A check that changes its state six times within an hour is flapping: that is
// told once and with the reminders, and ends when it has been calm for half an
// hour. A check that depends on another bad one is mentioned and opens no alert.
// While all is well, no message is sent.
//
// # Receivers
//
// Each [Receiver] has its own routes, hours, retries and delivery state. One that
// is unreachable or hangs delays only its own messages. It gets the missed ones
// as soon as it responds.
//
// # State
//
// The state is one JSON document in a [Store]: in memory, in a file that a
// command and a server may share, or in Redis for all instances of a service
// (package redisalert). Delivery is at least once: a crash between a delivery and
// its record repeats the message. When the store is out of reach, every instance
// sends for itself: a repeated message is better than a lost one.
package alert
