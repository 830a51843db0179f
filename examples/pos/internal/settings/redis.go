package settings

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis describes the Redis server: standalone, behind Sentinel, or as a Cluster. The zero
// value is no Redis.
type Redis struct {
	options *redis.UniversalOptions
	cluster bool
}

// Configured reports whether Redis is configured.
func (r Redis) Configured() bool { return r.options != nil }

// Cluster reports whether Redis is a cluster, which has only one database.
func (r Redis) Cluster() bool { return r.cluster }

// Client returns a client of one database. A cluster has only database 0. The client does not
// connect yet. The caller closes it.
func (r Redis) Client(db int) redis.UniversalClient {
	o := *r.options
	if r.cluster {
		return redis.NewClusterClient(o.Cluster())
	}
	o.DB = db
	return redis.NewUniversalClient(&o)
}

// DB is the database in the URL.
func (r Redis) DB() int {
	if r.options == nil {
		return 0
	}
	return r.options.DB
}

var errRedis = errors.New("want redis://host:6379/0, rediss://…, redis+sentinel://host:26379,host:26379/master/0 or redis+cluster://host:6379,host:6379")

// readPath reads the number of a database, and before it the name of the master for sentinels.
func readPath(o *redis.UniversalOptions, path string, cluster bool) error {
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		db, err := strconv.Atoi(part)
		switch {
		case err == nil && db != 0 && cluster:
			return errors.New("a cluster has database 0 only")
		case err == nil && db >= 0 && db < 1024:
			o.DB = db
		case o.MasterName != "":
			o.MasterName = part
		default:
			return fmt.Errorf("%q is no database number", part)
		}
	}
	return nil
}

// Set reads redis://[user:pw@]host[:port][/db], rediss:// for TLS,
// redis+sentinel://[user:pw@]host,host/master[/db] and redis+cluster://host,host. The master's
// name may also be ?master=, and a password of the sentinels is ?sentinel_password=. ?tls-ca=
// is a file of certificates that replace the host's, to verify the server.
func (r *Redis) Set(s string) error {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return errRedis
	}
	// net/url accepts only one host. It gets the first, and this function reads the list.
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], strings.TrimPrefix(rest[i:], "/")
	}
	login, hosts := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		login, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse("redis://" + login + "host/" + path)
	if err != nil {
		return errRedis
	}
	for name := range u.Query() {
		if !slices.Contains([]string{"master", "master_name", "sentinel_username", "sentinel_password", "tls-ca"}, name) {
			return fmt.Errorf("unknown parameter %q", name)
		}
	}
	o := &redis.UniversalOptions{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	port := "6379"
	tlsOn := strings.HasPrefix(scheme, "rediss")
	switch strings.Replace(scheme, "rediss", "redis", 1) {
	case "redis":
		if strings.Contains(hosts, ",") {
			return errRedis
		}
	case "redis+sentinel":
		port = "26379"
		o.MasterName = cmp.Or(u.Query().Get("master"), u.Query().Get("master_name"), "mymaster")
		o.SentinelUsername = u.Query().Get("sentinel_username")
		o.SentinelPassword = u.Query().Get("sentinel_password")
	case "redis+cluster":
	default:
		return errRedis
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, err := hostPort(host, port)
		if err != nil {
			return err
		}
		o.Addrs = append(o.Addrs, addr)
	}
	if err := readPath(o, u.Path, strings.HasSuffix(scheme, "+cluster")); err != nil {
		return err
	}
	if tlsOn {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if len(o.Addrs) == 1 {
			o.TLSConfig.ServerName, _, _ = net.SplitHostPort(o.Addrs[0])
		}
	}
	if ca := u.Query().Get("tls-ca"); ca != "" {
		if !tlsOn {
			return errors.New("tls-ca needs rediss://")
		}
		if o.TLSConfig.RootCAs, err = certificates(ca); err != nil {
			return err
		}
	}
	// A cache that hangs must cost less time than it saves.
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond
	o.ContextTimeoutEnabled = true
	o.DialerRetries = 1 // retrying a dead server five times wastes time
	o.MaxRetries = -1   // an INCR with a lost response must not be sent again
	*r = Redis{options: o, cluster: strings.HasSuffix(scheme, "+cluster")}
	return nil
}

func hostPort(s, port string) (string, error) {
	if _, _, err := net.SplitHostPort(s); err != nil {
		if s = strings.Trim(s, "[]"); strings.Contains(s, ":") && net.ParseIP(s) == nil {
			return "", errRedis
		}
		s = net.JoinHostPort(s, port)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", errRedis
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q is no port", port)
	}
	return s, nil
}
