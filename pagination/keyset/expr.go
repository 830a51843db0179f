package keyset

import (
	"fmt"
	"regexp"
	"strings"
)

// directionAtEnd is a direction or a place of NULLs, which belong into other fields.
var directionAtEnd = regexp.MustCompile(`(?i)\s(ASC|DESC|NULLS\s+(FIRST|LAST))\s*$`)

// exprFaults caches the results for the expressions of a process.
var exprFaults texts

// exprFault returns the fault of a text that is not one SQL expression, or "". Such a text
// fails in every statement, or changes the rest of the statement.
func exprFault(d Dialect, expr string) string {
	if strings.TrimSpace(expr) == "" {
		return "is empty"
	}
	return exprFaults.get(d, expr, func() string { return findExprFault(d, expr) })
}

func findExprFault(d Dialect, expr string) string {
	if strings.Trim(expr, " 0123456789") == "" {
		return "is a number, which ORDER BY reads as the place of a column"
	}
	if d.window(expr) {
		return "has a window function, which no condition may have; write the whole statement into Base.Query"
	}
	if fault := d.unfinished(expr); fault != "" {
		return fault
	}
	if d.commentAtEnd(expr) {
		return "has a comment to the end of the line, which would include the rest of the statement"
	}
	var open []byte
	for i := 0; i < len(expr); i++ {
		if end := d.skip(expr, i); end > i {
			i = end - 1
			continue
		}
		switch c := expr[i]; c {
		case '(', '[':
			open = append(open, c+1+(c>>6)) // its closing bracket
		case ')', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return fmt.Sprintf("has a %q without its opening bracket", c)
			}
			open = open[:len(open)-1]
		case ',':
			if len(open) == 0 {
				return "has a comma; declare one column for each expression"
			}
		case ';':
			return "has a semicolon"
		}
	}
	if len(open) > 0 {
		return fmt.Sprintf("has no closing %q", open[len(open)-1])
	}
	if directionAtEnd.MatchString(d.stripped(expr)) {
		return "has a direction or a place of NULLs; a request selects the direction, and Nulls is the place"
	}
	return ""
}

// window reports whether a text calls a window function outside of its sub-selects.
func (d Dialect) window(sql string) bool {
	if !overs.MatchString(sql) {
		return false
	}
	list := d.tokens(sql)
	for i := 1; i < len(list)-1; i++ {
		before, t, behind := list[i-1], list[i], list[i+1]
		if t.kind != code || !strings.EqualFold(sql[t.at:t.end], "OVER") {
			continue
		}
		called := sql[before.at] == ')' || strings.EqualFold(sql[before.at:before.end], "NULLS")
		if called && (sql[behind.at] == '(' || behind.kind == quoted || isWordByte(sql[behind.at])) {
			return true
		}
	}
	return false
}

var overs = regexp.MustCompile(`(?i)\bOVER\b`)

// operand reports whether an expression binds tighter than a comparison for certain: a
// name, or one call of a function.
func (d Dialect) operand(expr string) bool {
	depth := 0
	for i := 0; i < len(expr); i++ {
		if end := d.skip(expr, i); end > i {
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
