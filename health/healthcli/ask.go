package healthcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/mainstay-go/mainstay/health"
)

// maxAnswer limits how much of a server's response is read.
const maxAnswer = 1 << 20

// ask gets the state from a running server. A 503 is fail. For a 200, the body gives
// the state, or pass if it contains none. A server that does not respond fails. No
// redirect is followed: a health endpoint has no redirect, and a login page would
// respond with 200.
func ask(ctx context.Context, f flags, stdout io.Writer) (int, error) {
	u, err := url.Parse(f.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return NoResult, errors.New("--url is not of the form http://host/path")
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return NoResult, errors.New("--url is not usable")
	}
	req.Header.Set("Accept", "application/health+json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err // the URL may contain a password
		}
		return Fail, fmt.Errorf("%s does not answer: %w", u.Host, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return Fail, fmt.Errorf("%s broke off: %w", u.Host, err)
	}
	var doc struct {
		Status health.Status `json:"status"`
		Output string        `json:"output"`
	}
	status := health.Fail
	switch parseErr := json.Unmarshal(body, &doc); {
	case res.StatusCode == http.StatusServiceUnavailable:
	case res.StatusCode < 200 || res.StatusCode > 299:
		return NoResult, fmt.Errorf("%s answered %d, which says nothing about its health", u.Host, res.StatusCode)
	case parseErr != nil || doc.Status == health.Unknown:
		status = health.Pass
	default:
		status = doc.Status
	}
	if f.json {
		_, err = stdout.Write(append(body, '\n'))
	} else if status != health.Pass || f.verbose {
		text := status.String()
		if doc.Output != "" {
			text += ": " + doc.Output
		}
		_, err = fmt.Fprintf(stdout, "%s %s\n", u.Host, printable(health.Scrub(text)))
	}
	if err != nil {
		return NoResult, err
	}
	return code(status), nil
}

// printable prevents a server from writing control sequences to the terminal.
func printable(s string) string {
	out := []rune{}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			r = ' '
		}
		out = append(out, r)
		if len(out) == 500 {
			break
		}
	}
	return string(out)
}
