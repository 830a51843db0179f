package health

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// payload is an encoded body with its headers, in the form in which net/http keeps
// them. Serving it allocates nothing.
type payload struct {
	body                []byte
	contentType, length []string
	html                bool
}

func newPayload(f format, body []byte) payload {
	return payload{body: body, contentType: contentTypes[f], length: []string{strconv.Itoa(len(body))}, html: f == formatHTML}
}

// Header values that never change. Handlers share the slices: net/http and its
// middlewares append to them or replace them, and never write into them.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	varyOn     = []string{"Accept, Authorization, Cookie"}
	retryAfter = []string{strconv.Itoa(int(defaultInterval / time.Second))}
	noReferrer = []string{"no-referrer"}
	noIndex    = []string{"noindex"}
	allowGet   = []string{"GET, HEAD"}
)

func (p *payload) write(w http.ResponseWriter, req *http.Request, code int) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = p.contentType
	h["Content-Length"] = p.length
	h["X-Content-Type-Options"] = noSniff
	if len(h["Vary"]) == 0 {
		h["Vary"] = varyOn
	} else {
		h["Vary"] = append(h["Vary"], varyOn[0])
	}
	if code == http.StatusServiceUnavailable {
		h["Retry-After"] = retryAfter
	}
	if p.html {
		h["Content-Security-Policy"] = pagePolicy
		h["Referrer-Policy"] = noReferrer
		h["X-Robots-Tag"] = noIndex
	}
	w.WriteHeader(code)
	if req.Method != http.MethodHead {
		// If this fails, the client has disconnected and needs no response.
		_, _ = w.Write(p.body)
	}
}

func httpCode(s Status) int {
	if s == Pass || s == Warn {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// answers are all the responses for a caller without details.
type answers struct {
	table  [Fail + 1][formats]payload
	format format // for callers that request none
}

// newAnswers returns the bodies. plainOK and home are the fields of Options.
func newAnswers(plainOK, home string) *answers {
	a := &answers{table: statusOnly}
	if home != "" {
		for _, s := range []Status{Pass, Warn, Fail} {
			a.table[s][formatHTML] = newPayload(formatHTML, anonymousPage(s, home))
		}
	}
	if plainOK != "" {
		a.format = formatText
		for _, s := range []Status{Pass, Warn} {
			a.table[s][formatText] = newPayload(formatText, []byte(plainOK))
		}
		a.table[Fail][formatText] = newPayload(formatText, []byte(Fail.String()))
	}
	return a
}

func (a *answers) write(w http.ResponseWriter, req *http.Request, query url.Values, s Status) {
	f := formatOf(req, query, a.format)
	a.table[s][f].write(w, req, httpCode(s))
}

var statusOnly = func() (table [Fail + 1][formats]payload) {
	for _, s := range []Status{Pass, Warn, Fail} {
		json := []byte(`{"status":"` + s.String() + `"}`)
		table[s][formatHealthJSON] = newPayload(formatHealthJSON, json)
		table[s][formatJSON] = newPayload(formatJSON, json)
		table[s][formatText] = newPayload(formatText, []byte(s.String()+"\n"))
		table[s][formatHTML] = newPayload(formatHTML, anonymousPage(s, ""))
	}
	return table
}()
