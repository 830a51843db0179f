package health

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const hidden = "***"

// scrubber takes secrets out of texts: the ones it was told, and what has the
// form of one.
type scrubber struct{ known *strings.Replacer }

var secretForms = []struct {
	re   *regexp.Regexp
	with string
}{
	// scheme://token@host, and scheme://user:password@host with whatever is in
	// the password: one with an unencoded slash is why the URL did not work, and
	// the error of package url then quotes the half before it once more.
	{regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://)(?:[^\s/"'<>]*|[^\s/"'<>]*:[^\s"'<>]*)@`), "${1}" + hidden + "@"},
	{regexp.MustCompile(`(invalid port )"[^"]*"`), "${1}" + hidden},
	// user:password@host, as in user:password@tcp(host) of go-sql-driver
	{regexp.MustCompile(`[^\s"'<>(,;=:/]+:[^\s"'<>/][^\s"'<>]*@`), hidden + "@"},
	// Cookie: a=b; c=d
	{regexp.MustCompile(`(?i)(\b(?:set-)?cookie["']?\s*:\s*).*`), "${1}" + hidden},
	// Authorization: Basic …, Bearer …, with and without the name of the header
	{regexp.MustCompile(`(?i)(authorization["']?\s*[=:]\s*["']?)(?:[a-z]+\s+)?[^\s,;"']+`), "${1}" + hidden},
	{regexp.MustCompile(`(?i)\b(basic|bearer|digest|token)(\s+)[a-z0-9+/=._~-]{8,}`), "${1}${2}" + hidden},
	// password=…, "api_key": "…", token is …
	{regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:passw(?:or)?d|passphrase|pwd|\bpass|pgpass|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|auth[_-]?key|session[_-]?id|sig(?:nature)?))(["']?\s*[=:]\s*)("[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s,;&"'<>)\]}]+)`), "${1}${2}" + hidden},
	// what providers hand out with a recognisable beginning
	{regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{16}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*|AGE-SECRET-KEY-1[A-Z0-9]+)`), hidden},
	{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), hidden},
}

func newScrubber(secrets []string) *scrubber {
	var all []string
	for _, s := range secrets {
		if s != "" {
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s), oneLine(s))
		}
	}
	// The longest first: a secret that contains another must go as a whole.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, hidden)
	}
	return &scrubber{known: strings.NewReplacer(pairs...)}
}

// Scrub takes out of a text what has the form of a password or token, puts it on
// one line and bounds it, for errors that come before there is a registry, whose
// own [Registry.Scrub] knows Options.Secrets too.
func Scrub(text string) string { return formsOnly.text(text) }

var formsOnly = newScrubber(nil)

// text returns the text in one line, without its secrets and at most about
// maxText bytes long. The cut comes last, so that half a password is not taken
// for something harmless. A first, wider cut bounds the work; the word that it
// may have split is dropped.
func (s *scrubber) text(text string) string {
	if len(text) > 4*maxText {
		text = text[:4*maxText]
		text = text[:strings.LastIndexAny(text, " \t\r\n")+1] + "…"
	}
	text = s.known.Replace(oneLine(text))
	for _, form := range secretForms {
		text = form.re.ReplaceAllString(text, form.with)
	}
	return cut(text)
}
