package settings

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/mainstay-go/mainstay/notify"
)

// Receivers are the services that alerts go to, besides the addresses of --smtp.
type Receivers struct{ list []notify.Notifier }

// receiverKinds build a receiver from its URL without the kind, and from the key that
// stood before the @ of the URL.
var receiverKinds = map[string]func(u *url.URL, key string) (notify.Notifier, error){
	"slack":      plainReceiver(notify.NewSlack),
	"discord":    plainReceiver(notify.NewDiscord),
	"teams":      plainReceiver(notify.NewTeams),
	"googlechat": plainReceiver(notify.NewGoogleChat),
	"alertmanager": func(u *url.URL, key string) (notify.Notifier, error) {
		return notify.NewAlertmanager(u.String(), bearer(key))
	},
	"webhook": func(u *url.URL, key string) (notify.Notifier, error) {
		var secret []byte // of at least 16 bytes if there is one
		if key != "" {
			secret = []byte(key)
		}
		return notify.NewWebhook(u.String(), &notify.WebhookOptions{Secret: secret})
	},
	"ntfy": func(u *url.URL, key string) (notify.Notifier, error) {
		folder, topic := path.Split(u.Path)
		u.Path = folder
		return notify.NewNtfy(u.String(), topic, bearer(key))
	},
	"telegram": func(u *url.URL, key string) (notify.Notifier, error) {
		chat := strings.Trim(u.Path, "/")
		u.Path = ""
		return notify.NewTelegram(u.String(), key, chat, nil)
	},
	"pagerduty": func(u *url.URL, key string) (notify.Notifier, error) {
		return notify.NewPagerDuty(u.String(), key, nil)
	},
	"opsgenie": func(u *url.URL, key string) (notify.Notifier, error) {
		return notify.NewOpsgenie(u.String(), key, nil)
	},
}

// receiverKindNames are the kinds in the order of the help.
const receiverKindNames = "slack, discord, teams, googlechat, telegram, ntfy, pagerduty, opsgenie, alertmanager or webhook"

func plainReceiver[N notify.Notifier](build func(string, *notify.WebhookOptions) (N, error)) func(*url.URL, string) (notify.Notifier, error) {
	return func(u *url.URL, key string) (notify.Notifier, error) {
		if key != "" {
			return nil, errors.New("want its URL as the service shows it, without an @ before the host")
		}
		return build(u.String(), nil)
	}
}

func bearer(key string) *notify.WebhookOptions {
	if key == "" {
		return nil
	}
	return &notify.WebhookOptions{Header: http.Header{"Authorization": {"Bearer " + key}}}
}

// Set reads URLs separated by blanks, such as slack+https://hooks.slack.com/services/…
// or pagerduty+https://KEY@events.pagerduty.com/v2/enqueue. No error repeats a URL,
// because it contains a secret.
func (r *Receivers) Set(s string) error {
	var list []notify.Notifier
	for i, raw := range strings.Fields(s) {
		n, err := receiver(raw)
		if err != nil {
			return fmt.Errorf("receiver %d: %w", i+1, err)
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return errors.New("want URLs such as slack+https://hooks.slack.com/services/…")
	}
	r.list = list
	return nil
}

func receiver(raw string) (notify.Notifier, error) {
	kind, rest, _ := strings.Cut(raw, "+")
	build := receiverKinds[kind]
	if build == nil {
		return nil, errors.New("want a URL that begins with its kind, as slack+https://; kinds are " + receiverKindNames)
	}
	u, err := url.Parse(rest)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" {
		return nil, errors.New("want " + kind + "+https://host/… with special characters percent-encoded")
	}
	key := u.User.Username()
	if password, ok := u.User.Password(); ok { // the token of a bot has a colon
		key += ":" + password
	}
	u.User = nil
	n, err := build(u, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return n, nil
}

// Notifier returns the channel to all receivers and to the addresses of --smtp, or nil
// if there is none.
func (s *Settings) Notifier(o *notify.EmailOptions, multi *notify.MultiOptions) (notify.Notifier, error) {
	all := s.Receivers.list
	if s.SMTP != "" {
		mail, err := notify.NewEmailFromURL(s.SMTP, o)
		if err != nil {
			return nil, err
		}
		all = append([]notify.Notifier{mail}, all...)
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return notify.NewMulti(all, multi)
}

// Notifies reports whether there is a receiver.
func (s *Settings) Notifies() bool { return s.SMTP != "" || len(s.Receivers.list) > 0 }

// publicURL takes the address under which a browser reaches the service.
func publicURL(target *string) func(string) error {
	return func(s string) error {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
			return errors.New("want the address of the service in a browser, such as https://pos.example.org")
		}
		*target = strings.TrimSuffix(u.String(), "/")
		return nil
	}
}
