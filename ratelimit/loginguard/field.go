package loginguard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds what Field reads.
const maxBody = 64 << 10

// unclear is the account of a request that different readers may understand differently.
const unclear = "\x00unclear:"

func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// Field returns a function that reads a field of a form, of a JSON object or of the query,
// and leaves the body as it was for the handler. It does not trust the Content-Type: an
// attacker has no limit if this function reads another name than the handler.
// Where the places disagree, a field comes twice with different values, or the body does not
// end within 64 KiB, the request has a name that is no account's and that it shares with
// requests of its own address only. Upper and lower case of the field's name are one in JSON,
// as they are for encoding/json.
func Field(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		var found values
		if r.URL != nil && r.URL.RawQuery != "" {
			query, err := url.ParseQuery(r.URL.RawQuery)
			found.add(err == nil, query[name]...)
		}
		if r.Body != nil && r.Body != http.NoBody {
			found.body(peek(r), r.Header.Get("Content-Type"), name)
		}
		return found.one()
	}
}

// values are the names that readers of a request may find.
type values struct {
	list  []string
	vague bool
}

func (v *values) add(clear bool, list ...string) {
	v.vague = v.vague || !clear
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			v.list = append(v.list, s)
		}
	}
}

func (v *values) one() string {
	if v.vague {
		return unclear
	}
	for _, s := range v.list[min(1, len(v.list)):] {
		if fold(s) != fold(v.list[0]) {
			return unclear
		}
	}
	if len(v.list) == 0 {
		return ""
	}
	return v.list[0]
}

// body reads the names that readers of a form, a multipart form and JSON would find.
func (v *values) body(head []byte, contentType, name string) {
	if len(bytes.TrimSpace(head)) == 0 {
		return
	}
	if len(head) == maxBody {
		v.vague = true // the field may follow
		return
	}
	if kind, params, err := mime.ParseMediaType(contentType); err == nil && strings.HasPrefix(kind, "multipart/") {
		v.multipart(head, params["boundary"], name)
		return
	}
	if first := bytes.TrimSpace(head)[0]; first == '{' || first == '[' || first == '"' {
		v.json(head, name)
		return
	}
	form, err := url.ParseQuery(string(head))
	v.add(err == nil, form[name]...)
}

func (v *values) multipart(head []byte, boundary, name string) {
	if !bytes.Contains(head, []byte("--"+boundary+"--")) {
		v.vague = true // it has no end
		return
	}
	parts := multipart.NewReader(bytes.NewReader(head), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			v.vague = true
			return
		}
		if part.FormName() == name {
			value, err := io.ReadAll(part)
			v.add(err == nil, string(value))
		}
	}
}

func (v *values) json(body []byte, name string) {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		v.vague = true
		return
	}
	for d.More() {
		key, err := d.Token()
		var raw json.RawMessage
		if err != nil || d.Decode(&raw) != nil {
			v.vague = true
			return
		}
		if s, ok := key.(string); !ok || !strings.EqualFold(s, name) {
			continue
		}
		var value *string
		if json.Unmarshal(raw, &value) != nil {
			v.vague = true
			return
		}
		if value != nil {
			v.add(true, *value)
			if strings.TrimSpace(*value) == "" {
				v.list = append(v.list, "") // beside another it is another
			}
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		v.vague = true
	}
}

// peek reads the beginning of the body and puts it back.
func peek(r *http.Request) []byte {
	if p, ok := r.Body.(*peekedBody); ok {
		return p.head
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = errReader{err}
	}
	r.Body = &peekedBody{Reader: io.MultiReader(bytes.NewReader(head), rest), Closer: r.Body, head: head}
	return head
}

// peekedBody is a body whose beginning has been read.
type peekedBody struct {
	io.Reader
	io.Closer
	head []byte
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
