package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
)

// maxBody is more than any valid request of this API needs.
const maxBody = 64 << 10

// read decodes the JSON object of a request into v. It refuses every object that does not match
// v exactly, so that it does not read a misspelt "quantity" as 0. When read returns false, it
// has already sent the response.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody))
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			fail(w, http.StatusRequestTimeout, "the body did not come in time")
		} else {
			fail(w, http.StatusBadRequest, "the body could not be read")
		}
		return false
	}
	if err := decode(body, v); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// decode reads one JSON object. Its errors are for clients.
func decode(body []byte, v any) error {
	if err := noDoubles(body); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		return fmt.Errorf("%s: want %s, not %s", wrongType.Field, wanted(wrongType.Type), wrongType.Value)
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	case err != nil:
		return errNoJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the JSON object")
	}
	return nil
}

// wanted names the type of a field in the terms of JSON.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	default:
		return "a whole number"
	}
}

var errNoJSON = errors.New("the body is no valid JSON object")

// noDoubles refuses an object that contains a field name twice, also with different case. JSON
// readers disagree on the meaning of such an object.
func noDoubles(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	first, err := d.Token()
	if err != nil || first != json.Delim('{') {
		return errNoJSON
	}
	return walkObject(d)
}

func walkObject(d *json.Decoder) error {
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return errNoJSON
		}
		// encoding/json accepts "Username" for "username", and "uſername" with a long s. Code that reads
		// the body earlier, such as the login limiter, does not.
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return fmt.Errorf("unknown field %q", name)
		}
		if seen[name] {
			return fmt.Errorf("field %q is there twice", name)
		}
		seen[name] = true
		if err := walkValue(d); err != nil {
			return err
		}
	}
	return walkEnd(d)
}

func walkValue(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return errNoJSON
	}
	switch token {
	case json.Delim('{'):
		return walkObject(d)
	case json.Delim('['):
		for d.More() {
			if err := walkValue(d); err != nil {
				return err
			}
		}
		return walkEnd(d)
	}
	return nil
}

func walkEnd(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errNoJSON
	}
	return nil
}
