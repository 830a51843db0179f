package command

import (
	"log/slog"
	"path/filepath"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/notify"
)

// notifier is the way to the people whom --smtp names; nil if it names nobody.
func notifier(s *settings.Settings, logger *slog.Logger) (notify.Notifier, error) {
	if s.SMTP == "" {
		return nil, nil
	}
	return notify.NewEmailFromURL(s.SMTP, &notify.EmailOptions{Logger: logger})
}

// outbox is where the messages wait that could not be delivered.
func outbox(s *settings.Settings) string { return filepath.Join(s.Data, "outbox") }

// alertState is what people were told last. The server and the command "health --notify"
// share it, so that one incident makes one mail.
func alertState(s *settings.Settings) alert.Store {
	return alert.File(filepath.Join(s.Data, "alerts.json"))
}
