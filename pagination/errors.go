package pagination

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/mainstay-go/mainstay/pagination/internal/web"
)

var (
	// ErrInvalidPage reports a page that is not a number, is below 1, or is past the last
	// page.
	ErrInvalidPage = errors.New("pagination: invalid page")
	// ErrInvalidParameter reports any other paging parameter that was rejected. In strict
	// mode these are a page size, limit, offset or sort name. In every mode these are a
	// query string of more than 16 KiB and a host that is not allowed.
	ErrInvalidParameter = errors.New("pagination: invalid parameter")
)

// RequestError is a fault of the client in a request for a page. It wraps [ErrInvalidPage],
// [ErrInvalidParameter], or an error of another paginator such as keyset.ErrInvalidCursor.
// The service may show Status and Detail to the client. Error holds the reason and belongs
// in a log.
type RequestError struct {
	Status    int    // HTTP status: 404, 400 or 414
	Detail    string // text for the client, without internal details
	Parameter string // the wrong query parameter; "" if there is none

	Problem bool   // write an RFC 9457 problem document
	Kind    error  // the sentinel that Unwrap returns
	Reason  string // text for the log; "" if Detail says it all
}

// Error returns the kind of failure and its reason.
func (e *RequestError) Error() string {
	if e.Reason == "" {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Reason
}

// Unwrap returns the sentinel that the error belongs to.
func (e *RequestError) Unwrap() error { return e.Kind }

// WriteError responds to a request when reading its page failed. A [RequestError] is
// written with its own status, as {"detail": "…"} or, in strict mode, as an RFC 9457
// problem document. Any other error is a failure of the source: the response is a 500 with
// a constant text. The client does not see such an error, so log it. If the error is that of
// a Write that has responded, WriteError does nothing.
func WriteError(w http.ResponseWriter, err error) {
	if errors.As(err, &web.Refused{}) {
		return
	}
	e := &RequestError{Status: http.StatusInternalServerError, Detail: "The list could not be read."}
	errors.As(err, &e)
	var body any = map[string]string{"detail": e.Detail}
	w.Header().Set("Content-Type", "application/json")
	if e.Problem {
		w.Header().Set("Content-Type", "application/problem+json")
		body = struct {
			Type      string `json:"type"`
			Title     string `json:"title"`
			Status    int    `json:"status"`
			Detail    string `json:"detail"`
			Parameter string `json:"parameter,omitempty"`
		}{"about:blank", http.StatusText(e.Status), e.Status, e.Detail, e.Parameter}
	}
	data, err := json.Marshal(body)
	if err != nil { // only strings and a number: cannot fail
		data = []byte(`{}`)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)+1))
	w.WriteHeader(e.Status)
	w.Write(append(data, '\n'))
}

func invalidPage(param, reason string, strict bool) error {
	return &RequestError{
		Status: lenientStatus(strict), Detail: "Invalid page.", Parameter: param,
		Problem: strict, Kind: ErrInvalidPage, Reason: reason,
	}
}

func invalidParameter(param, detail string) error {
	return &RequestError{
		Status: http.StatusBadRequest, Detail: detail, Parameter: param,
		Problem: true, Kind: ErrInvalidParameter, Reason: detail,
	}
}

// lenientStatus is 404, as in Django REST Framework, or 400 in strict mode.
func lenientStatus(strict bool) int {
	if strict {
		return http.StatusBadRequest
	}
	return http.StatusNotFound
}

// checkQuery rejects a query string that is too long to read.
func checkQuery(raw string, strict bool) error {
	if len(raw) <= web.MaxQuery {
		return nil
	}
	return &RequestError{
		Status: http.StatusRequestURITooLong, Detail: "Query string too long.",
		Problem: strict, Kind: ErrInvalidParameter, Reason: "query string of more than 16 KiB",
	}
}

// ignored adds the unknown and the repeated parameters to those with a corrected value.
func ignored(p *web.Params, pairs []web.Pair, corrected []string, strict bool) ([]string, error) {
	names, rejected, why := p.Ignored(pairs)
	if strict && rejected != "" {
		return nil, invalidParameter(rejected, why)
	}
	for _, name := range names {
		if !slices.Contains(corrected, name) {
			corrected = append(corrected, name)
		}
	}
	return corrected, nil
}

// newLinker returns the links of a request, or an error if the host is rejected.
func newLinker(b *web.LinkBase, r *http.Request, strict bool) (web.Linker, error) {
	l, reason := web.NewLinker(b, r)
	if reason != "" {
		return l, &RequestError{
			Status: http.StatusBadRequest, Detail: "Invalid host.",
			Problem: strict, Kind: ErrInvalidParameter, Reason: reason,
		}
	}
	return l, nil
}
