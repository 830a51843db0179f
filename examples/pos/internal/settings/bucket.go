package settings

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Bucket is the target for copies of the backups. The zero value is no bucket.
type Bucket struct {
	Endpoint       string // host:port
	Name, Prefix   string
	Region         string
	Key, Secret    string // "": from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
	Insecure       bool   // HTTP, for a server on this host
	KeepDays       int
	LockFor        time.Duration // 0: not locked against deletion
	WithoutDelete  bool          // the key may only write
	WithoutReading bool          // copies are not read back
}

// Configured reports whether there is a bucket.
func (b Bucket) Configured() bool { return b.Name != "" }

var errBucket = errors.New("want s3://key:secret@host/bucket/prefix, with ?region=…&keep-days=90&lock-days=30&delete=off&read-back=off&tls=none as needed")

// Set reads s3://key:secret@host:port/bucket/prefix?…. Its errors never contain the URL,
// because it holds a secret.
func (b *Bucket) Set(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.Hostname() == "" {
		return errBucket
	}
	set := Bucket{Endpoint: u.Host, Key: u.User.Username(), KeepDays: 30}
	set.Secret, _ = u.User.Password()
	set.Name, set.Prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
	if len(set.Name) < 3 || (set.Key == "") != (set.Secret == "") {
		return errBucket
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errBucket
	}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "region":
			set.Region = value
		case "keep-days":
			set.KeepDays, err = days(value)
		case "lock-days":
			var n int
			n, err = days(value)
			set.LockFor = time.Duration(n) * 24 * time.Hour
		case "delete":
			err = off(&set.WithoutDelete, value)
		case "read-back":
			err = off(&set.WithoutReading, value)
		case "tls":
			if set.Insecure = value == "none"; !set.Insecure {
				err = errBucket
			}
		default:
			err = errBucket
		}
		if err != nil {
			return errBucket
		}
	}
	*b = set
	return nil
}

func days(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 36500 {
		return 0, errBucket
	}
	return n, nil
}

// off reads a switch and stores true in target if the switch is off.
func off(target *bool, s string) error {
	var on bool
	if err := onOff(&on)(s); err != nil {
		return err
	}
	*target = !on
	return nil
}
