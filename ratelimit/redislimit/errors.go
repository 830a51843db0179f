package redislimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/ratelimit"
)

// errDown stands for the answer that the open breaker saved the caller from waiting for.
type errDown struct {
	wait    time.Duration
	breaker *breaker
}

func (e errDown) Error() string {
	return fmt.Sprintf("redislimit: Redis does not answer and is left alone for another %v", e.wait.Round(time.Millisecond))
}

var (
	// errSilent means that a node was silent for the store's Timeout.
	errSilent = errors.New("redislimit: Redis has not answered anything for as long as Timeout allows")
	// errSaturated means that a node responds to other calls, and too late to this one.
	errSaturated = errors.New("redislimit: more decisions wait than Redis answers in time; lower the load, or give the limiter a Redis of its own")
)

// outOfService reports whether a reply is about the node, rather than about one key or
// command: every code except those that are known to be about a key.
func outOfService(err error) bool {
	text := err.Error()
	code, _, _ := strings.Cut(text, " ")
	switch code {
	case "ERR":
		for _, node := range []string{"-MISCONF", "-OOM", "-READONLY", "-NOREPLICAS", "-MASTERDOWN", "max number of clients"} {
			if strings.Contains(text, node) { // Redis 6 passes on the error of a script's own command
				return true
			}
		}
		return false
	case "WRONGTYPE", "CROSSSLOT", "NOSCRIPT", "MOVED", "ASK", "BUSYKEY", "EXECABORT":
		return false
	}
	return code == strings.ToUpper(code) // otherwise it is no code of a server
}

// ofKey reports whether err is a reply about one key or command. A repetition gets it too.
func ofKey(err error) bool { return err != nil && isReply(err) && !outOfService(err) }

// isReply reports whether err is an answer of Redis.
func isReply(err error) bool {
	if err == nil {
		return true
	}
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// wrap gives errors of Redis this package's name, for the operator's eyes. An error that is no
// reply is also ratelimit.ErrUnavailable.
func wrap(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !isReply(err) || outOfService(err):
		return fmt.Errorf("%w: %w", ratelimit.ErrUnavailable, err)
	case strings.HasPrefix(err.Error(), "redislimit: "):
		return err
	}
	return fmt.Errorf("redislimit: %w", err)
}
