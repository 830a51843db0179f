package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mainstay-go/mainstay/internal/redact"
)

// cut truncates a text to maxText bytes without splitting a character.
func cut(text string) string { return cutTo(text, maxText) }

func cutTo(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// oneLine replaces control characters with spaces. An error text must not be able to
// add lines to a text response, a log or a mail.
func oneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0x2028 || c == 0x2029 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "�"))
}

// outputOf joins summary and error of a result into one line for authorised callers,
// the log and mails. It says how many measurements are left out.
func (r *Registry) outputOf(res *Result) string {
	text := r.scrub.text(res.Summary)
	if res.Err != nil {
		cause := r.scrub.error(res.Err)
		if text != "" && cause != "" {
			text += ": "
		}
		text += cause
	}
	if more := len(res.Observed) - maxObserved; more > 0 {
		note := fmt.Sprintf("and %d more measurements, none of them worse", more)
		if text != "" {
			note = "; " + note
		}
		text = cutTo(text, maxText-len(note)) + note
	}
	return cut(text)
}

// cleanObserved copies the worst measurements of a graded result, in their order.
func (r *Registry) cleanObserved(observed []Measurement) []Measurement {
	if len(observed) == 0 {
		return nil
	}
	out := slices.Clone(observed)
	if len(out) > maxObserved {
		worst := make([]int, len(out))
		for i := range out {
			worst[i] = i
		}
		slices.SortStableFunc(worst, func(a, b int) int { return cmp.Compare(out[b].Status, out[a].Status) })
		worst = worst[:maxObserved]
		slices.Sort(worst)
		for i, at := range worst {
			out[i] = out[at]
		}
		out = out[:maxObserved]
	}
	for i := range out {
		for _, field := range []*string{&out[i].Name, &out[i].Component, &out[i].Unit} {
			*field = cutTo(r.scrub.text(*field), maxName)
		}
	}
	return out
}

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
