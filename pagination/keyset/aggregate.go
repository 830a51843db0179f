package keyset

import (
	"regexp"
	"strings"
)

// aggregates are the functions that make one row of many.
var aggregates = regexp.MustCompile(`(?i)\b(COUNT|SUM|AVG|MIN|MAX|GROUP_CONCAT|STRING_AGG|LISTAGG|ARRAY_AGG|JSONB?_AGG|JSONB?_OBJECT_AGG|JSONB?_GROUP_(?:ARRAY|OBJECT)|JSON_(?:ARRAY|OBJECT)AGG|BIT_(?:AND|OR|XOR)|BOOL_(?:AND|OR)|EVERY|STDDEV(?:_POP|_SAMP)?|VARIANCE|VAR_(?:POP|SAMP))\s*\($`)

// behindAggregate are the clauses between an aggregate and OVER.
var behindAggregate = regexp.MustCompile(`(?i)^\s*(FILTER|WITHIN\s+GROUP)\s*\(`)

var over = regexp.MustCompile(`(?i)^\s*((IGNORE|RESPECT)\s+NULLS\s+)?OVER\b`)

var selects = regexp.MustCompile(`(?i)^\s*(SELECT|WITH|VALUES)\b`)

var aggregated texts

// aggregate returns the aggregate that a text has outside its sub-selects and without OVER,
// or "". MariaDB and SQLite would read the whole list as one row.
func aggregate(text string) string {
	if strings.IndexByte(text, '(') < 0 {
		return ""
	}
	return aggregated.get(text, func() string { return findAggregate(stripped(text)) })
}

func findAggregate(sql string) string {
	for i := 0; i < len(sql); i++ {
		if sql[i] != '(' {
			continue
		}
		end := closing(sql, i)
		if selects.MatchString(sql[i+1:]) {
			i = end
			continue
		}
		call := aggregates.FindStringSubmatch(sql[:i+1])
		if call == nil {
			continue
		}
		name, arguments, rest := strings.ToUpper(call[1]), sql[i+1:end], sql[min(end+1, len(sql)):]
		for clause := behindAggregate.FindStringIndex(rest); clause != nil; clause = behindAggregate.FindStringIndex(rest) {
			rest = rest[min(closing(rest, clause[1]-1)+1, len(rest)):]
		}
		scalar := (name == "MIN" || name == "MAX") && strings.IndexByte(topLevel(arguments), ',') >= 0 // of SQLite
		if !scalar && !over.MatchString(rest) {
			return name
		}
	}
	return ""
}

// closing returns the index of the bracket that closes the one at i, or the length.
func closing(sql string, i int) int {
	depth := 0
	for ; i < len(sql); i++ {
		switch sql[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(sql)
}
