package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/notify"
	"github.com/mainstay-go/mainstay/ratelimit"
)

// option is one setting: its names, its description and its parser. set is called at most once,
// with the value of the flag or of the variable.
type option struct {
	flag, env string
	value     string // the form of the value, for the help
	help      string
	def       string
	secret    bool // messages never contain its value
	set       func(string) error
}

func options(s *Settings) []option {
	return []option{
		{flag: "addr", env: "POS_ADDR", value: "host:port", help: "address to listen on", def: s.Addr, set: address(&s.Addr)},
		{flag: "data", env: "POS_DATA", value: "folder", help: "folder of the database, backups/ and logs/", def: s.Data, set: text(&s.Data, "a folder")},
		{flag: "database", env: "POS_DATABASE", value: "url", help: "mysql://user:pw@host/db[?tls=true&tls-ca=FILE] or postgres://user:pw@host/db", def: "SQLite in the data folder", secret: true, set: s.Database.Set},
		{flag: "redis", env: "POS_REDIS", value: "url", help: "redis://, rediss://, redis+sentinel:// or redis+cluster://", def: "none", secret: true, set: s.Redis.Set},
		{flag: "admin-password", env: "POS_ADMIN_PASSWORD", value: "password", help: "password of admin", def: "generated once", secret: true, set: password(&s.AdminPassword)},
		{flag: "cashier-password", env: "POS_CASHIER_PASSWORD", value: "password", help: "password of cashier", def: "generated once", secret: true, set: password(&s.CashierPassword)},
		rate("login", "failed logins", &s.RateLogin),
		rate("api", "ordinary requests of one bearer token", &s.RateAPI),
		rate("page", "requests of one device by the shop's own pages", &s.RatePage),
		rate("sale", "sales of one user", &s.RateSale),
		rate("topup", "top-ups by one user", &s.RateTopUp),
		{flag: "topup-limit", env: "POS_TOPUP_LIMIT", value: "amount", help: "the most that a cashier may top up at once, in the smallest unit of money", def: "20000", set: amount(&s.TopUpLimit)},
		{flag: "timezone", env: "POS_TIMEZONE", value: "zone", help: "zone of business days, such as Europe/Madrid", def: "the host's", set: zone(&s.Timezone)},
		{flag: "day-start", env: "POS_DAY_START", value: "hh:mm", help: "when a business day begins, at a quarter of an hour", def: s.DayStart.String(), set: dayStart(&s.DayStart)},
		{flag: "db-connections", env: "POS_DB_CONNECTIONS", value: "n", help: "connections of this server to a database server", def: "20", set: count(&s.DBConnections)},
		{flag: "locale", env: "POS_LOCALE", value: "en|es", help: "words, amounts and dates of the pages", def: s.Locale, set: locale(&s.Locale)},
		{flag: "trusted-proxies", env: "POS_TRUSTED_PROXIES", value: "cidr,…", help: "proxies whose X-Forwarded-For is read", def: "none", set: proxies(&s.TrustedProxies)},
		{flag: "smtp", env: "POS_SMTP", value: "url", help: "where alerts go: smtp://user:pw@host:587?from=a@b&to=c@d", def: "none", secret: true, set: smtp(&s.SMTP)},
		{flag: "receivers", env: "POS_RECEIVERS", value: "url …", help: "further receivers of alerts: slack+https://…, " + receiverKindNames, def: "none", secret: true, set: s.Receivers.Set},
		{flag: "public-url", env: "POS_PUBLIC_URL", value: "url", help: "address of the service in a browser, for the links in messages", def: "no links", secret: true, set: publicURL(&s.PublicURL)},
		{flag: "ops-token", env: "POS_OPS_TOKEN", value: "token", help: "bearer token for health details, /metrics and /status/", def: "generated once", secret: true, set: token(&s.OpsToken)},
		{flag: "backup-at", env: "POS_BACKUP_AT", value: "hh:mm", help: "time of the daily backup, or off", def: s.BackupAt.String(), set: s.BackupAt.Set},
		{flag: "backup-target", env: "POS_BACKUP_TARGET", value: "url", help: "where backups are copied to: s3://key:secret@host/bucket/prefix", def: "none", secret: true, set: s.BackupTarget.Set},
		{flag: "demo", env: "POS_DEMO", value: "on|off", help: "fill an empty database with demo data", def: "on", set: onOff(&s.Demo)},
		{flag: "drain", env: "POS_DRAIN", value: "duration", help: "how long /ready/ says 503 before the server stops", def: s.Drain.String(), set: duration(&s.Drain)},
		{env: "POS_DEBUG", help: "1: every response carries X-Query-Count", def: "off", set: onOff(&s.Debug)},
	}
}

func rate(name, what string, p *ratelimit.Policy) option {
	return option{
		flag: "rate-" + name, env: "POS_RATE_" + strings.ToUpper(name), value: "n/window",
		help: "limit of " + what + ", or off", def: p.String(),
		set: func(s string) error {
			if p.Set(s) != nil {
				return fmt.Errorf("want a rate such as 5/1h, or off")
			}
			return nil
		},
	}
}

func text(target *string, what string) func(string) error {
	return func(s string) error {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("want %s", what)
		}
		*target = s
		return nil
	}
}

func password(target *string) func(string) error {
	return func(s string) error {
		if len(s) < 8 || len(s) > 72 {
			return fmt.Errorf("want 8 to 72 bytes")
		}
		*target = s
		return nil
	}
}

func token(target *string) func(string) error {
	return func(s string) error {
		if len(s) < 8 || strings.ContainsAny(s, " \t\r\n") {
			return fmt.Errorf("want at least 8 characters without blanks")
		}
		*target = s
		return nil
	}
}

func proxies(target *[]string) func(string) error {
	return func(s string) error {
		list := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		if _, err := ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: list}); err != nil {
			return fmt.Errorf("want addresses or networks, such as 10.0.0.0/8")
		}
		*target = list
		return nil
	}
}

// smtp lets the notify package check the URL. Its errors never contain the password.
func smtp(target *string) func(string) error {
	return func(s string) error {
		if _, err := notify.NewEmailFromURL(s, nil); err != nil {
			return err
		}
		*target = s
		return nil
	}
}

func duration(target *time.Duration) func(string) error {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > time.Hour {
			return fmt.Errorf("want a duration such as 5s, at most 1h")
		}
		*target = d
		return nil
	}
}

func amount(target *int64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 || n > 1<<53-1 {
			return fmt.Errorf("want an amount in the smallest unit of money, such as 20000")
		}
		*target = n
		return nil
	}
}

func zone(target **time.Location) func(string) error {
	return func(s string) error {
		z, err := time.LoadLocation(s)
		if err != nil {
			return fmt.Errorf("want a time zone such as Europe/Madrid or UTC")
		}
		*target = z
		return nil
	}
}

// dayStart accepts only quarters of an hour, because the figures of a day are sums of quarters.
func dayStart(target *TimeOfDay) func(string) error {
	return func(s string) error {
		var t TimeOfDay
		if err := t.Set(s); err != nil || t.Off || t.Minute%15 != 0 {
			return fmt.Errorf("want a quarter of an hour such as 04:00 or 04:15")
		}
		*target = t
		return nil
	}
}

func count(target *int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 6 || n > 10000 {
			return fmt.Errorf("want 6 to 10000")
		}
		*target = n
		return nil
	}
}

func locale(target *string) func(string) error {
	return func(s string) error {
		if s != "en" && s != "es" {
			return fmt.Errorf("want en or es")
		}
		*target = s
		return nil
	}
}
