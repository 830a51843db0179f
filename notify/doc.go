// Package notify carries messages to people: by mail, to chat rooms and to
// on-call services.
//
// A [Message] says what happened; a [Notifier] delivers it. [Email] speaks SMTP,
// [Webhook] posts signed JSON or what Slack, Discord, Teams and PagerDuty expect,
// and anything else is a [Func] away. [Multi] tells several, [Spool] keeps on disk
// what could not be delivered, [Throttle] is a hard cap. When a person is told is
// not this package's business.
//
//	mail, err := notify.NewEmail("smtp.example.org:587", "pos@example.org", []string{"oncall@example.org"}, nil)
//	if err != nil { … }
//	err = mail.Notify(ctx, notify.Message{Level: notify.Critical, Source: "pos-1", Subject: "database is down"})
package notify
