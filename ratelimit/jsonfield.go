package ratelimit

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxFieldBody bounds what JSONField reads.
const maxFieldBody = 64 << 10

// UnclearField is what the functions of [JSONField] return for a body that different
// readers may understand differently.
const UnclearField = "\x00unclear"

// JSONField returns a function that reads one string from a JSON object in the
// request's body, trimmed and in lower case, and leaves the body as it was for the
// handler. It returns "" when the body is empty or its object has no such field.
//
// Whoever can make this function read another name than the handler does has no limit.
// Like encoding/json it takes "Username" for "username" and does not look at what
// follows the object. What a handler might read otherwise gives UnclearField: the field
// twice with different values or one that is no string, no JSON, no object, or an
// object that does not end within 64 KiB. All such requests count as one name, so none
// of them is free, and honest clients send none.
//
// Names that the service's own look-up holds equal, such as "josé" and "jose" under
// some collations of SQL databases, must still be folded by the caller.
func JSONField(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		if r.Body == nil || r.Body == http.NoBody {
			return ""
		}
		peeked, ok := r.Body.(*peekedBody)
		if !ok {
			head, err := io.ReadAll(io.LimitReader(r.Body, maxFieldBody))
			rest := io.Reader(r.Body)
			if err != nil {
				rest = errReader{err}
			}
			peeked = &peekedBody{Reader: io.MultiReader(bytes.NewReader(head), rest), Closer: r.Body, head: head}
			r.Body = peeked
		}
		if !peeked.read || peeked.name != name { // several rules ask for the same
			peeked.read, peeked.name, peeked.value = true, name, fieldOf(peeked.head, name)
		}
		return peeked.value
	}
}

// fieldOf finds the field in the object that body begins with.
func fieldOf(body []byte, name string) string {
	if len(bytes.TrimSpace(body)) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return UnclearField
	}
	var value string
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return UnclearField
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return UnclearField
		}
		if s, ok := key.(string); !ok || !strings.EqualFold(s, name) {
			continue
		}
		var v *string
		if json.Unmarshal(raw, &v) != nil {
			return UnclearField
		}
		folded := "" // for null
		if v != nil {
			folded = strings.ToLower(strings.TrimSpace(*v))
		}
		if found && folded != value {
			return UnclearField
		}
		value, found = folded, true
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return UnclearField
	}
	return value
}

// peekedBody is a body whose beginning has been looked at.
type peekedBody struct {
	io.Reader
	io.Closer
	head []byte

	read        bool
	name, value string
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
