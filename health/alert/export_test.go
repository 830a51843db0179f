package alert

import (
	"fmt"
	"reflect"
)

// CheckLanguage tells which text of a language is missing.
func CheckLanguage(code string) error {
	w, err := wordsOf(code)
	if err != nil {
		return err
	}
	v := reflect.ValueOf(*w)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() && (name != "months" || code != "en") {
			return fmt.Errorf("the language %q lacks %s", code, name)
		}
	}
	return nil
}
