package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/mainstay-go/mainstay/notify"
)

// A custom channel is a function.
func ExampleFunc() {
	pager := notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println(m.Level, m.Source, m.Subject)
		return nil
	})
	err := pager.Notify(context.Background(), notify.Message{
		Level: notify.Critical, Source: "pos", Key: "incident-7", Subject: "database is down",
	})
	fmt.Println(err)
	// Output:
	// critical pos database is down
	// <nil>
}

// One line of configuration makes a channel. The server is not contacted before the
// first message.
func ExampleNewEmailFromURL() {
	_, err := notify.NewEmailFromURL("smtp://pos:secret@mail.example.org:587?from=pos@example.org&to=oncall@example.org", nil)
	fmt.Println(err)
	_, err = notify.NewEmailFromURL("smtp://pos:secret@mail.example.org:25?from=pos@example.org&to=oncall@example.org&tls=none", nil)
	fmt.Println(err)
	// Output:
	// <nil>
	// notify: the password for mail.example.org would be sent in the clear; use TLS or leave the login out
}

// The receiver of a signed webhook verifies the sender.
func ExampleVerifyWebhook() {
	secret := []byte("a long random text that both sides know")
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println("genuine:", notify.VerifyWebhook(secret, r.Header, body, 5*time.Minute) == nil)
	}))
	defer receiver.Close()

	hook, err := notify.NewWebhook(receiver.URL, &notify.WebhookOptions{Secret: secret})
	if err != nil {
		panic(err)
	}
	fmt.Println(hook.Notify(context.Background(), notify.Message{Subject: "hello"}))
	// Output:
	// genuine: true
	// <nil>
}

// A channel that fails is reported and does not affect the others. A repetition goes
// only to the failed channel.
func ExampleNewMulti() {
	broken := notify.Func(func(context.Context, notify.Message) error { return errors.New("room is gone") })
	phone := notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println("phone rings:", m.Subject)
		return nil
	})
	all, err := notify.NewMulti([]notify.Notifier{broken, phone}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(all.Notify(context.Background(), notify.Message{Subject: "fridge is warm"}))
	// Output:
	// phone rings: fridge is warm
	// channel 0: room is gone
}
