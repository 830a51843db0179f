// Package notify sends messages to people: by mail, to chat rooms and to on-call
// services.
//
// A [Message] describes an event, and a [Notifier] delivers it. [Email] uses SMTP.
// [Webhook] posts signed JSON, or the format of Slack, Discord, Teams or PagerDuty. Any
// other channel is a [Func]. [Multi] sends to several channels, [Spool] keeps
// undelivered messages on disk, and [Throttle] is a hard limit. The package does not
// decide when to send a message.
//
//	mail, err := notify.NewEmail("smtp.example.org:587", "pos@example.org", []string{"oncall@example.org"}, nil)
//	if err != nil { … }
//	err = mail.Notify(ctx, notify.Message{Level: notify.Critical, Source: "pos-1", Subject: "database is down"})
package notify
