package mysql

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// advice says what to do about errors whose own messages do not say it.
var advice = map[int]string{
	1044: "the account may not create or use this database: GRANT ALL on it",
	1153: "a statement is longer than the server takes: SET GLOBAL max_allowed_packet = 1073741824, and restore again",
	1180: "if it is because of a unique key, two of its rows are equal by the rules of this server",
	1227: "it belongs to its DEFINER, and this account may not create objects of other accounts: GRANT SET USER ON *.* (MySQL: SET_ANY_DEFINER) to it, or set mysql.Options.Definers",
	1418: "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	1419: "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an administrator",
	1449: "its DEFINER is an account that does not exist: create the account, or set mysql.Options.Definers",
}

var (
	duplicate = regexp.MustCompile(`(?s)^(.*?Duplicate entry) '.*' (for key '[^']*')$`)
	ofColumn  = regexp.MustCompile(`(?s)^(.*?: )'.*' (for column .* at row \d+)$`)
	nearText  = regexp.MustCompile(`(?s)^(.*?)near '.*$`)
)

// restoreError adds the object to an error. It removes the values of rows and the text of
// statements.
func restoreError(kind, name string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, form := range []*regexp.Regexp{duplicate, ofColumn} {
		text = form.ReplaceAllString(text, "$1 … $2")
	}
	text = nearText.ReplaceAllString(text, "${1}near …")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	kind = named(kind)
	if hint := advice[errorCode(err)]; hint != "" {
		text += " (" + hint + ")"
	}
	return &statementError{fmt.Sprintf("backup: restore the %s %s: %s", kind, name, text), err}
}

// named returns the kind of a statement as part of a message.
func named(kind string) string {
	if kind == kindRows {
		return "rows of the table"
	}
	return kind
}

// serverTrouble are error numbers of a server that is full, busy or going down. They say
// nothing about the dump that is restored.
var serverTrouble = map[int]bool{
	3: true, 1021: true, 1026: true, 1030: true, 1040: true, 1053: true, 1114: true, 1135: true, 1158: true, 1159: true, 1160: true, 1161: true,
	1203: true, 1205: true, 1226: true, 1290: true, 1317: true, 1836: true, 1927: true, 2002: true, 2003: true, 2006: true, 2013: true,
}

// untested marks a failed restore test whose cause is the server or the connection to it.
func untested(err error) error {
	// A full disk also breaks the tables that the server makes for a query: "Index is corrupted".
	if err == nil || !serverTrouble[errorCode(err)] && !connectionLost(err) && !strings.Contains(err.Error(), "'#sql") {
		return err
	}
	return errors.Join(driver.ErrUntested, err)
}

// statementError has a text without values. errors.As can read its cause.
type statementError struct {
	text string
	err  error
}

func (e *statementError) Error() string { return e.text }
func (e *statementError) Unwrap() error { return e.err }
