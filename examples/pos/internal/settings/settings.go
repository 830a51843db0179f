// Package settings reads the settings of the operator: from a flag, else from an environment
// variable, else the default. An invalid value is an error of one line and never a guess.
package settings

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// Settings has all settings. Load returns it with its values.
type Settings struct {
	Addr     string
	Data     string
	Database Database
	Redis    Redis

	AdminPassword, CashierPassword string // "": generated on the first start
	OpsToken                       string // "": generated on the first start

	RateLogin, RateAPI, RatePage, RateSale, RateTopUp ratelimit.Policy
	TrustedProxies                                    []string

	TopUpLimit    int64          // the most that a cashier may top up at once
	Timezone      *time.Location // of business days
	DayStart      TimeOfDay
	DBConnections int // of each replica
	Locale        string

	SMTP         string // "": no mail
	Receivers    Receivers
	PublicURL    string // "": messages have no links
	BackupAt     TimeOfDay
	BackupTarget Bucket
	Demo         bool
	Drain        time.Duration
	Debug        bool
}

// Default returns the default settings.
func Default() *Settings {
	return &Settings{
		Addr:      "127.0.0.1:8080",
		Data:      "pos-data",
		RateLogin: ratelimit.Login(),
		RateAPI:   ratelimit.API(),
		RatePage:  ratelimit.Policy{Name: "page", Limit: 2000, Window: time.Hour},
		RateSale:  ratelimit.Sale(),
		RateTopUp: ratelimit.TopUp(),
		BackupAt:  TimeOfDay{Hour: 2},
		Demo:      true,
		Drain:     3 * time.Second,

		TopUpLimit:    20000,
		Timezone:      hostZone(),
		DBConnections: 20,
		Locale:        "en",
	}
}

// hostZone is the host's time zone, by name if the name can be found, because browsers need it.
func hostZone() *time.Location {
	name := os.Getenv("TZ")
	if name == "" {
		target, _ := filepath.EvalSymlinks("/etc/localtime")
		_, name, _ = strings.Cut(filepath.ToSlash(target), "/zoneinfo/")
	}
	if name == "" {
		return time.Local
	}
	zone, err := time.LoadLocation(strings.TrimPrefix(name, ":"))
	if err != nil {
		return time.Local
	}
	return zone
}

// NotInherited returns the flags of the settings that a job of the host's scheduler needs and
// that its command line must not contain, because they may have passwords.
func (s *Settings) NotInherited() (flags []string) {
	for _, one := range []struct {
		flag  string
		given bool
	}{
		{"--database", s.Database.Engine != SQLite},
		{"--redis", s.Redis.Configured()},
		{"--smtp", s.SMTP != ""},
		{"--receivers", len(s.Receivers.list) > 0},
		{"--backup-target", s.BackupTarget.Configured()},
	} {
		if one.given {
			flags = append(flags, one.flag)
		}
	}
	return flags
}

// SQLitePath is the path of the embedded database.
func (s *Settings) SQLitePath() string { return filepath.Join(s.Data, "pos.db") }

// BackupDir is the folder of the backups.
func (s *Settings) BackupDir() string { return filepath.Join(s.Data, "backups") }

// LogFile is the file that receives the log in addition to stderr.
func (s *Settings) LogFile() string { return filepath.Join(s.Data, "logs", "pos.log") }

// TimeOfDay is a minute of the day, or off.
type TimeOfDay struct {
	Hour, Minute int
	Off          bool
}

// Set reads "02:00" or "off".
func (t *TimeOfDay) Set(s string) error {
	if s == "off" {
		*t = TimeOfDay{Off: true}
		return nil
	}
	at, err := time.Parse("15:04", s)
	if err != nil {
		return fmt.Errorf("want a time of day such as 02:00, or off")
	}
	*t = TimeOfDay{Hour: at.Hour(), Minute: at.Minute()}
	return nil
}

// String returns the form that Set reads.
func (t TimeOfDay) String() string {
	if t.Off {
		return "off"
	}
	return fmt.Sprintf("%02d:%02d", t.Hour, t.Minute)
}

// onOff reads a switch in all common spellings.
func onOff(target *bool) func(string) error {
	return func(s string) error {
		switch strings.ToLower(s) {
		case "on", "true", "yes", "1":
			*target = true
		case "off", "false", "no", "0":
			*target = false
		default:
			return fmt.Errorf("want on or off")
		}
		return nil
	}
}

// address accepts any address that net.Listen can use. A typing error is found before the
// database is opened.
func address(target *string) func(string) error {
	return func(s string) error {
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return fmt.Errorf("want host:port, such as 127.0.0.1:8080")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return fmt.Errorf("%q is no port", port)
		}
		*target = s
		return nil
	}
}
