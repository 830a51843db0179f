package keyset

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// directionAtEnd is a direction or a place of NULLs, which belong into other fields.
var directionAtEnd = regexp.MustCompile(`(?i)\s(ASC|DESC|NULLS\s+(FIRST|LAST))\s*$`)

// checkExpr rejects a text that is not one SQL expression. Such a text fails in every
// statement, or changes the rest of the statement.
func checkExpr(expr string) error {
	if strings.TrimSpace(expr) == "" {
		return errors.New("is empty")
	}
	if strings.Trim(expr, " 0123456789") == "" {
		return errors.New("is a number, which ORDER BY reads as the place of a column")
	}
	if fault := changesRows(expr); fault != "" {
		return fmt.Errorf("has %s", fault)
	}
	if strings.ContainsAny(expr, `\$`) { // a string may end elsewhere than skipQuoted says
		return nil
	}
	var open []byte
	for i := 0; i < len(expr); i++ {
		if end := skipQuoted(expr, i); end > i {
			if fault := unfinished(expr[i:end]); fault != "" {
				return errors.New(fault)
			}
			i = end - 1
			continue
		}
		switch c := expr[i]; c {
		case '(', '[':
			open = append(open, c+1+(c>>6)) // its closing bracket
		case ')', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return fmt.Errorf("has a %q without its opening bracket", c)
			}
			open = open[:len(open)-1]
		case ',':
			if len(open) == 0 {
				return errors.New("has a comma; declare one column for each expression")
			}
		case ';':
			return errors.New("has a semicolon")
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("has no closing %q", open[len(open)-1])
	}
	if directionAtEnd.MatchString(stripped(expr)) {
		return errors.New("has a direction or a place of NULLs; a request selects the direction, and Nulls is the place")
	}
	return nil
}

// operand reports whether an expression binds tighter than a comparison for certain: a
// name, or one call of a function.
func operand(expr string) bool {
	depth := 0
	for i := 0; i < len(expr); i++ {
		if end := skipQuoted(expr, i); end > i {
			if expr[i] == '\'' && depth == 0 {
				return false
			}
			i = end - 1
			continue
		}
		switch c := expr[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 && i < len(expr)-1 {
				return false
			}
		case depth == 0 && c != '.' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c < 0x80:
			return false
		}
	}
	return depth == 0
}

// unfinished returns the fault of a string, a quoted name or a comment that does not end.
func unfinished(quoted string) string {
	switch {
	case strings.HasPrefix(quoted, "--"):
		if !strings.HasSuffix(quoted, "\n") {
			return "has a comment to the end of the line, which would include the rest of the statement"
		}
	case strings.HasPrefix(quoted, "/*"):
		if len(quoted) < 4 || !strings.HasSuffix(quoted, "*/") {
			return "has a comment without an end"
		}
	case len(quoted) < 2 || quoted[len(quoted)-1] != quoted[0]:
		return "has a quote without its end"
	}
	return ""
}
