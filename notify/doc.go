// Package notify carries messages to people: by mail, to chat rooms and to
// on-call services.
//
// A [Message] says what happened; a [Notifier] delivers it. [Email] speaks SMTP.
// Anything else is a [Func] away. Who decides when a person is told is not this
// package's business.
//
//	mail, err := notify.NewEmail("smtp.example.org:587", "pos@example.org", []string{"oncall@example.org"}, nil)
//	if err != nil { … }
//	err = mail.Notify(ctx, notify.Message{Level: notify.Critical, Source: "pos-1", Subject: "database is down"})
package notify
