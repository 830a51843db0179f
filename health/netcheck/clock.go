package netcheck

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/internal/durationtext"
)

// ClockOptions tune [Clock]. The zero value and nil work.
type ClockOptions struct {
	// Timeout of a run. Default: 5 s.
	Timeout time.Duration
	// WarnOff and FailOff limit the error of the clock. Default: 1 s and 5 s.
	WarnOff, FailOff time.Duration
}

// Clock returns a check of this machine's clock against a reference: [NTPTime],
// [HTTPTime], or a function that queries the time of the database. A wrong clock breaks
// tokens, certificates and backups, and their errors rarely mention the clock. The
// check runs every 10 minutes. It is not critical.
func Clock(name string, reference func(ctx context.Context) (time.Time, error), opts *ClockOptions) health.Check {
	var o ClockOptions
	if opts != nil {
		o = *opts
	}
	o.WarnOff = cmp.Or(o.WarnOff, time.Second)
	o.FailOff = cmp.Or(o.FailOff, 5*time.Second)
	return health.Check{
		Name: name, Type: "system", Timeout: cmp.Or(o.Timeout, 5*time.Second), Interval: 10 * time.Minute,
		Checker: &clockCheck{reference: reference, opts: o},
	}
}

type clockCheck struct {
	reference func(ctx context.Context) (time.Time, error)
	opts      ClockOptions
}

func (c *clockCheck) Validate() error {
	if c.reference == nil {
		return errors.New("the function that asks for the time is nil")
	}
	if c.opts.WarnOff < 0 || c.opts.FailOff < c.opts.WarnOff {
		return fmt.Errorf("WarnOff %v and FailOff %v: use positive times, the second not smaller", c.opts.WarnOff, c.opts.FailOff)
	}
	return nil
}

func (c *clockCheck) Check(ctx context.Context) health.Result {
	before := time.Now()
	reference, err := c.reference(ctx)
	if err != nil {
		// If the reference is unavailable, the clock may still be correct.
		return health.Result{Status: health.Warn, Summary: "the reference does not tell the time", Err: err}
	}
	trip := time.Since(before)
	off := before.Add(trip / 2).Sub(reference).Abs()
	return health.Result{
		Summary: fmt.Sprintf("off by %s, give or take %s", durationtext.Roughly(off), durationtext.Roughly(trip/2)),
		Observed: []health.Measurement{{
			Name: "offset", Value: off.Seconds(), Unit: "s",
			Limits: health.Limits{Warn: c.opts.WarnOff.Seconds(), Fail: c.opts.FailOff.Seconds()},
		}},
	}
}

// HTTPTime returns a reference for [Clock]: the Date header of a URL, which is exact to
// half a second. It asks caches to query the server, and a response that a cache has kept
// is an error. If client is nil, it uses http.DefaultClient.
func HTTPTime(target string, client *http.Client) func(ctx context.Context) (time.Time, error) {
	if client == nil {
		client = http.DefaultClient
	}
	return func(ctx context.Context) (time.Time, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, target, nil)
		if err != nil {
			return time.Time{}, err
		}
		req.Header.Set("Cache-Control", "no-cache")
		resp, err := client.Do(req)
		if err != nil {
			return time.Time{}, err
		}
		defer resp.Body.Close()
		if age := resp.Header.Get("Age"); age != "" && age != "0" {
			return time.Time{}, fmt.Errorf("the response is from a cache (Age: %.20q)", age)
		}
		date, err := http.ParseTime(resp.Header.Get("Date"))
		return date.Add(500 * time.Millisecond), err
	}
}

// NTPTime returns a reference for [Clock]: an NTP server ("host:123"), queried with one
// SNTP packet (RFC 4330).
func NTPTime(address string) func(ctx context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", address)
		if err != nil {
			return time.Time{}, err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return time.Time{}, err
			}
		}
		request := make([]byte, 48)
		request[0] = 4<<3 | 3 // version 4, client
		// The server sends it back, so a forged response can be detected.
		sent := uint64(time.Now().UnixNano())
		binary.BigEndian.PutUint64(request[40:], sent)
		if _, err := conn.Write(request); err != nil {
			return time.Time{}, err
		}
		reply := make([]byte, 128)
		n, err := conn.Read(reply)
		if err != nil {
			return time.Time{}, err
		}
		return parseNTP(reply[:n], sent)
	}
}

// parseNTP reads the transmit time from an SNTP response.
func parseNTP(reply []byte, sent uint64) (time.Time, error) {
	const since1900 = 2208988800 // seconds from 1900 to 1970
	switch {
	case len(reply) < 48:
		return time.Time{}, errors.New("the answer is too short")
	case reply[0]&7 != 4:
		return time.Time{}, errors.New("the answer is not from a server")
	case reply[0]>>6 == 3 || reply[1] == 0 || reply[1] > 15:
		return time.Time{}, errors.New("the server is not synchronised itself")
	case binary.BigEndian.Uint64(reply[24:]) != sent:
		return time.Time{}, errors.New("the answer belongs to another question")
	}
	seconds := binary.BigEndian.Uint32(reply[40:])
	fraction := binary.BigEndian.Uint32(reply[44:])
	if seconds == 0 {
		return time.Time{}, errors.New("the answer has no time")
	}
	// The seconds overflow in 2036. Small values belong to the next era.
	unix := int64(seconds) - since1900
	if seconds < 1<<31 {
		unix += 1 << 32
	}
	return time.Unix(unix, int64(uint64(fraction)*1e9>>32)), nil
}
