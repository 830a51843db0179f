package backupcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// heartbeat pings a dead man's switch: a service that sends a message if it receives no
// ping. It is for runs by cron, where no permanent process can notice missing runs.
type heartbeat struct {
	url    string
	client *http.Client
}

const (
	pingTimeout = 10 * time.Second
	pingTries   = 3
)

func newHeartbeat(address string) (*heartbeat, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // no heartbeat is configured
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the heartbeat's address must be a URL of http or https")
	}
	return &heartbeat{strings.TrimSuffix(address, "/"), &http.Client{Timeout: pingTimeout}}, nil
}

// ping reports the state of a run: "/start", "" for a good run, "/fail". The address is a
// secret and is kept out of the error.
func (h *heartbeat) ping(ctx context.Context, what, text string) error {
	if h == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	var last error
	for try := range pingTries {
		if try > 0 {
			time.Sleep(time.Duration(try) * 500 * time.Millisecond)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+what, strings.NewReader(text))
		if err != nil {
			return errors.New("the heartbeat's address is no URL")
		}
		response, err := h.client.Do(request)
		if err != nil {
			if inner := new(url.Error); errors.As(err, &inner) {
				err = inner.Err
			}
			last = err
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
		response.Body.Close()
		if response.StatusCode < 300 {
			return nil
		}
		last = fmt.Errorf("it responds with status %d", response.StatusCode)
	}
	return fmt.Errorf("the heartbeat was not taken: %w", last)
}
