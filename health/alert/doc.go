// Package alert tells the right person once. It watches the confirmed states of
// a health registry and sends messages through a notify.Notifier.
//
//	alerts, err := alert.New(reg, mail, &alert.Options{Store: alert.File("/var/lib/pos/alerts.json")})
//	if err != nil { … }
//	go alerts.Run(ctx)
//
// # What is sent
//
// An incident opens with the first check that is confirmed bad and closes when
// none is. All its messages share one thread. The first goes out 30 s after the
// first change, so that five checks that fail together make one message;
// further changes follow at most every 5 minutes. While it lasts a reminder
// comes after 1 h, after 4 h and then daily, counted anew when a check joins or
// gets worse. The last message says that it is over, and only follows if an
// earlier one has arrived.
//
// A check that changes its state six times within an hour is flapping: one
// message says so, and then there is silence about it until it has been calm for
// half an hour. A check that depends on another bad one is mentioned but opens
// nothing. Silences and maintenance windows hold messages back while everything
// goes on being recorded. Nothing goes out while all is well, and never more than
// 20 messages an hour, of which the last says that it is.
//
// A message that cannot be delivered is tried again after 30 s, 2, 10, 30 and 60
// minutes, written anew each time. If the trouble is over by then, neither it nor
// a recovery is sent.
//
// # What is kept
//
// The state is one JSON document in a [Store]: in memory, in a file that a
// one-shot command and a server may share, or in Redis for a fleet (package
// redisalert), where the replicas share one incident and one of them speaks for
// all. Delivery is at least once: a crash between a delivery and its record
// repeats the message. When the store is out of reach every replica sends for
// itself: an alert too many is better than none.
package alert
