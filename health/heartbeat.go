package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Heartbeat tells an external dead-man's switch that this service is well. A service
// that has died sends no alert, but the switch notices the silence. Run requests the
// URL every Interval while no critical check is confirmed bad.
type Heartbeat struct {
	// URL is requested with GET. It often holds a secret, so it is never logged or
	// shown. Required.
	URL string
	// Interval is the pause between two requests. Default: 1 min.
	Interval time.Duration
	// Client sends the requests, with a timeout of 10 s each. Default:
	// http.DefaultClient.
	Client *http.Client
}

const heartbeatTimeout = 10 * time.Second

// Validate rejects a URL that cannot be requested. A nil Heartbeat is valid.
func (h *Heartbeat) Validate() error {
	if h == nil {
		return nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("health: Heartbeat.URL must be an http or https URL")
	}
	if h.Interval < 0 {
		return errors.New("health: Heartbeat.Interval must not be negative")
	}
	return nil
}

// heartbeat runs until ctx ends. A failure is logged once, until a request succeeds
// again.
func (r *Registry) heartbeat(ctx context.Context) {
	h := r.opts.Heartbeat
	ticker := time.NewTicker(cmp.Or(h.Interval, time.Minute))
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if r.Snapshot().Confirmed == Fail {
			continue
		}
		err := h.Send(ctx)
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			if failing {
				r.log.Warn("health: the heartbeat does not get through", "cause", err)
			} else {
				r.log.Info("health: the heartbeat gets through again")
			}
		}
	}
}

// Send requests the URL once, now. Its error does not contain the URL.
func (h *Heartbeat) Send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return errors.New("the URL is not usable")
	}
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		var inner *url.Error // its text would contain the URL
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %d", resp.StatusCode)
	}
	return nil
}
