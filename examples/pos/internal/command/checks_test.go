package command

import (
	"bytes"
	"testing"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/notify"
)

func TestMemoryCheckSaysWhatItIs(t *testing.T) {
	s := openTestShop(t, unlimited...)
	check := memoryCheck(s.parts.cache)
	if got := check.Checker.Check(t.Context()); got.Status != health.Pass || got.Summary != "in memory" || check.Critical {
		t.Errorf("%+v", got)
	}
}

// TestMailsInMetrics verifies that alerts and backup messages use one channel and one counter.
func TestMailsInMetrics(t *testing.T) {
	s := openTestShop(t, append([]string{"--smtp=smtp://127.0.0.1:1?from=pos@example.com&to=shop@example.com", "--backup-at=02:00"}, unlimited...)...)
	s.token = opsToken
	_, body, _ := s.send("GET", "/metrics/", "")
	for _, result := range []string{"sent", "failed"} {
		if want := `health_notifications_total{channel="mail",result="` + result + `"} 0`; !bytes.Contains(body, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
	if err := s.parts.outbox.Notify(t.Context(), notify.Message{Subject: "s", Text: "t"}); err != nil {
		t.Fatal(err) // the message waits on the disk
	}
	if _, failed := s.parts.mails(); failed != 1 {
		t.Errorf("%d failed deliveries of the outbox", failed)
	}
}
