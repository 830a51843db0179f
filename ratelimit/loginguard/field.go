package loginguard

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	maxBody  = 64 << 10 // what Field reads
	maxNames = 4        // that Field finds in one request
)

// unclear begins the account of a request in which readers may find different names. The names follow, each with
// a separator behind it. An empty name stands for names that Field cannot read.
const (
	unclear   = "\x00unclear:"
	separator = "\x00"
)

// Field returns a function that reads a field of a form, of a JSON object and of the query,
// and leaves the body as it was for the handler. It does not trust the Content-Type: an
// attacker has no limit if this function reads another name than the handler. It also reads a form that a middleware
// has parsed before. A whole number in JSON is a name, in its digits. Upper and lower case of the field's name are one.
//
// A request is unclear if the places name several accounts, or if they could name one that Field cannot read: beyond
// the first 64 KiB, in a compressed body, in one that begins like XML, or in one whose Content-Type is neither a form,
// JSON, plain text nor bytes. The function then returns a text that is no account's name and that
// Guard understands. A function around it may add text before and after. Any other change of names belongs to Options.Fold.
func Field(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		var found names
		if r.URL != nil && r.URL.RawQuery != "" {
			found.form(r.URL.RawQuery, name, true)
		}
		found.parsed(r, name)
		if r.Body != nil && r.Body != http.NoBody {
			found.body(peek(r), r.Header, name)
		}
		if len(found) == 0 {
			return ""
		}
		if len(found) == 1 && found[0] != "" {
			return found[0]
		}
		return unclear + strings.Join(found, separator) + separator
	}
}

// names are the different names that readers of a request may find. "" is among them if Field cannot read them all.
type names []string

func (n *names) add(s string) {
	if strings.Contains(s, separator) {
		n.add("")
		s = strings.ReplaceAll(s, separator, "")
	}
	if len(*n) >= maxNames && !slices.Contains(*n, s) {
		s = ""
	}
	if !slices.Contains(*n, s) {
		*n = append(*n, s)
	}
}

// body reads the names that readers of a form, a multipart form and JSON would find.
func (n *names) body(head []byte, header http.Header, name string) {
	body := bytes.TrimPrefix(head, []byte("\ufeff")) // some handlers ignore it
	text := bytes.TrimSpace(body)
	if len(text) == 0 {
		return
	}
	contentType, encoding := strings.Join(header["Content-Type"], ","), strings.Join(header["Content-Encoding"], ",")
	if len(head) == maxBody || !decoded(head, encoding) || !readable(contentType) || text[0] == '<' {
		n.add("") // the field may follow, or be where only another reader finds it
	}
	kind, params, err := mime.ParseMediaType(contentType)
	isMultipart := err == nil && strings.HasPrefix(kind, "multipart/")
	isJSON := text[0] == '{' || text[0] == '[' || text[0] == '"'
	n.form(string(body), name, !isMultipart && !isJSON)
	if isJSON {
		n.json(body, name)
	}
	if isMultipart {
		n.multipart(head, params["boundary"], name)
	}
}

// decoded reports whether a body is as a handler reads it. A middleware that decodes a body may leave the field as it
// was, and some clients name the charset there.
func decoded(head []byte, encoding string) bool {
	switch strings.ToLower(encoding) {
	case "", "identity", "utf-8":
		return true
	case "gzip":
		return !bytes.HasPrefix(head, []byte("\x1f\x8b"))
	}
	return false
}

// readable reports whether forms and JSON are all that a handler reads from such a body. Handlers of some frameworks
// read XML, YAML and others where the type says so, and the type has parameters after a semicolon or a blank there.
// Clients that send JSON also call it text, bytes, or a script.
func readable(contentType string) bool {
	kind := strings.ToLower(strings.TrimSpace(contentType))
	if end := strings.IndexAny(kind, "; "); end >= 0 {
		kind = kind[:end]
	}
	switch kind {
	case "", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain",
		"text/json", "text/javascript", "application/javascript", "application/x-json", "application/octet-stream":
		return true
	}
	return strings.HasSuffix(kind, "+json") && !strings.Contains(kind, "xml") // some readers of XML look at the beginning
}

// form reads a form, or text that a reader of forms understands in part.
func (n *names) form(text, name string, isForm bool) {
	values, err := url.ParseQuery(text) // also those beside an error
	if err != nil && isForm {
		n.add("")
	}
	n.fields(values, name)
}

// fields reads the fields whose name differs in its case only: those of a handler for which cases are one.
func (n *names) fields(form url.Values, name string) {
	for _, key := range slices.Sorted(maps.Keys(form)) {
		if strings.EqualFold(key, name) {
			n.values(form[key])
		}
	}
}

// parsed reads a form that has been parsed. Its body may be gone.
func (n *names) parsed(r *http.Request, name string) {
	n.fields(r.Form, name)
	n.fields(r.PostForm, name)
	if r.MultipartForm != nil {
		n.fields(r.MultipartForm.Value, name)
	}
}

func (n *names) values(list []string) {
	for _, s := range list {
		if strings.TrimSpace(s) != "" {
			n.add(s)
		}
	}
}

func (n *names) multipart(head []byte, boundary, name string) {
	if !bytes.Contains(head, []byte("--"+boundary+"--")) {
		n.add("") // it has no end
	}
	parts := multipart.NewReader(bytes.NewReader(head), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			n.add("")
			return
		}
		if strings.EqualFold(part.FormName(), name) {
			n.part(part)
		}
	}
}

// part reads the value of a part as it is and, like net/http, decoded.
func (n *names) part(part *multipart.Part) {
	value, err := io.ReadAll(part)
	encoding := strings.ToLower(part.Header.Get("Content-Transfer-Encoding"))
	decoded := value
	switch {
	case err != nil:
	case encoding == "quoted-printable":
		decoded, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(value)))
	case !slices.Contains([]string{"", "7bit", "8bit", "binary"}, encoding):
		err = errors.ErrUnsupported
	}
	if err != nil {
		n.add("")
	}
	n.values([]string{string(value), string(decoded)})
}

func (n *names) json(body []byte, name string) {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		n.add("")
		return
	}
	for d.More() {
		key, err := d.Token()
		var raw json.RawMessage
		if err != nil || d.Decode(&raw) != nil {
			n.add("")
			return
		}
		if s, ok := key.(string); !ok || !strings.EqualFold(s, name) {
			continue
		}
		var value *string
		if whole.Match(raw) {
			n.add(string(raw))
		} else if json.Unmarshal(raw, &value) != nil {
			n.add("") // also a number with several spellings, such as 7.0
		} else if value != nil {
			n.add(*value) // "" beside another is another
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		n.add("")
	} else if _, err := d.Token(); !errors.Is(err, io.EOF) {
		n.add("")
	}
}

var whole = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

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
	r.Body = &peekedBody{Reader: io.MultiReader(bytes.NewReader(head), rest), Closer: r.Body, head: head, err: err}
	return head
}

// consumed reports whether the body of a request has been read before.
func consumed(r *http.Request) bool {
	if r.ContentLength <= 0 || r.Body == nil {
		return false
	}
	if r.Body == http.NoBody {
		return true
	}
	head := peek(r)
	p, ok := r.Body.(*peekedBody)
	return ok && len(head) == 0 && p.err == nil
}

// peekedBody is a body whose beginning has been read.
type peekedBody struct {
	io.Reader
	io.Closer
	head []byte
	err  error // that ended head
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
