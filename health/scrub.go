package health

import "github.com/mainstay-go/mainstay/internal/redact"

// scrubber removes secrets from everything the registry shows.
type scrubber struct{ *redact.Redactor }

func newScrubber(secrets []string) *scrubber { return &scrubber{redact.New(secrets...)} }

func (s *scrubber) text(text string) string { return s.Text(text, maxText) }

func (s *scrubber) error(err error) string { return s.Error(err, maxText) }

// Scrub returns a text on one line, truncated to about 1,000 bytes and without the
// parts that have the position or the form of a secret. Use it for errors that occur
// before there is a registry. [Registry.Scrub] removes Options.Secrets too.
func Scrub(text string) string { return formsOnly.text(text) }

// ScrubLines is [Registry.Scrub] for a text of several lines, at most 64 KiB. It keeps
// line breaks. It also keeps the given parts, such as signed links, unless they contain
// a text of Options.Secrets.
func (r *Registry) ScrubLines(text string, keep ...string) string {
	return r.scrub.Lines(text, keep...)
}

var formsOnly = newScrubber(nil)
