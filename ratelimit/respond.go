package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
)

// Status returns the HTTP status of the response to a decision that [Decide] or [Admit] returned
// with err: 200, 429 for a denial, 503 while the back-end is away or after the client has
// left, and 500 for a mistake of the service.
func (d *Decision) Status(err error) int {
	switch {
	case err == nil && d.Allowed:
		return http.StatusOK
	case err == nil, errors.Is(err, ErrCostExceedsLimit), errors.Is(err, ErrQueueFull):
		return http.StatusTooManyRequests
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

var (
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
	noStore     = []string{"no-store"}
)

// respond writes a whole answer. The fields of headerWriter are set already.
func respond(w http.ResponseWriter, r *http.Request, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore // RFC 6585: a cache must not store a 429
	delete(h, "Content-Length")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// bodies are buffers for appendDenied: an attack should cost little.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// appendDenied appends the JSON of a 429. Every value is a number or a token.
func appendDenied(buf []byte, results []Result, now int64, problem bool) []byte {
	b := &results[binding(results)]
	if problem {
		buf = append(buf, `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,"violated-policies":[`...)
		first := true
		for i := range results {
			r := &results[i]
			if r.Allowed || r.Policy == "" {
				continue
			}
			if !first {
				buf = append(buf, ',')
			}
			first = false
			buf = append(buf, '"')
			buf = append(buf, r.Policy...)
			buf = append(buf, '"')
		}
		buf = append(buf, `],"detail":"`...)
	} else {
		buf = append(buf, `{"error":"rate_limited","message":"`...)
	}
	retry := retrySeconds(*b)
	if retry > 0 {
		buf = append(buf, "Too many requests. Try again in "...)
		buf = strconv.AppendInt(buf, retry, 10)
		buf = append(buf, ` s.","policy":"`...)
	} else {
		buf = append(buf, `The limit does not allow this request, now or later.","policy":"`...)
	}
	buf = append(buf, b.Policy...)
	buf = append(buf, `","limit":`...)
	buf = strconv.AppendInt(buf, int64(b.Limit), 10)
	buf = append(buf, `,"remaining":`...)
	buf = strconv.AppendInt(buf, int64(b.Remaining), 10)
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	buf = append(buf, `,"reset":`...)
	buf = strconv.AppendInt(buf, resetUnix(now, b), 10)
	return append(buf, '}', '\n')
}

// failureBody is the JSON of a 503 or 500. It hides the cause.
func failureBody(status int, retry int64, problem bool) []byte {
	buf := make([]byte, 0, 160)
	if problem {
		buf = append(buf, `{"type":"about:blank","title":"`...)
		buf = append(buf, http.StatusText(status)...)
		buf = append(buf, `","status":`...)
		buf = strconv.AppendInt(buf, int64(status), 10)
	} else {
		buf = append(buf, `{"error":"`...)
		if status == http.StatusServiceUnavailable {
			buf = append(buf, `unavailable","message":"The service cannot answer right now.`...)
		} else {
			buf = append(buf, `internal","message":"The service could not answer.`...)
		}
		buf = append(buf, '"')
	}
	if retry > 0 {
		buf = append(buf, `,"retry_after":`...)
		buf = strconv.AppendInt(buf, retry, 10)
	}
	return append(buf, '}', '\n')
}
