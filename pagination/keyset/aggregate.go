package keyset

import (
	"regexp"
	"strings"
)

// aggregates are the functions that make one row of many.
var aggregates = regexp.MustCompile(`(?i)\b(COUNT(?:_BIG)?|APPROX_COUNT_DISTINCT|SUM|DECIMAL_SUM|TOTAL|AVG|MIN|MAX|\w*AGG|GROUP_CONCAT|JSONB?_GROUP_(?:ARRAY|OBJECT)|` +
	`(?:BIT|BOOL)_(?:AND|OR|XOR)|EVERY|STD|STDDEV(?:_POP|_SAMP)?|STDEVP?|VARP?|VARIANCE|VAR_(?:POP|SAMP)|ANY_VALUE|CORR|COVAR_(?:POP|SAMP)|REGR_\w+|` +
	`PERCENTILE(?:_CONT|_DISC)?|MODE|MEDIAN|ST_(?:COLLECT|UNION|EXTENT|MAKELINE))\s*\($`)

// setReturning are the functions of PostgreSQL that make several rows of one.
var setReturning = regexp.MustCompile(`(?i)\b(UNNEST|GENERATE_(?:SERIES|SUBSCRIPTS)|JSONB?_(?:ARRAY_ELEMENTS|EACH)(?:_TEXT)?|JSONB?_OBJECT_KEYS|JSONB?_(?:TO|POPULATE)_RECORDSET|` +
	`JSONB_PATH_QUERY(?:_TZ)?|REGEXP_MATCHES|\w+_TO_TABLE|ACLEXPLODE|EACH|SKEYS|SVALS|TS_(?:STAT|PARSE|DEBUG)|ST_DUMP\w*)\s*\($`)

// scalars are aggregates that are no aggregates with two arguments, on SQLite and in PostGIS.
var scalars = regexp.MustCompile(`^(MIN|MAX|ST_(COLLECT|UNION|MAKELINE))$`)

// quotedCall is a call of a function by its quoted name.
var quotedCall = regexp.MustCompile("[\"`[](\\w+)[\"`\\]]\\s*\\(")

// behindAggregate are the clauses between an aggregate and OVER.
var behindAggregate = regexp.MustCompile(`(?i)^\s*(FILTER|WITHIN\s+GROUP)\s*\(`)

var over = regexp.MustCompile(`(?i)^\s*((IGNORE|RESPECT)\s+NULLS\s+)?OVER\b`)

var selects = regexp.MustCompile(`(?i)^\s*(SELECT|WITH|VALUES)\b`)

var changed texts

// changesRows returns the fault of an expression that makes one row of the list, or several
// rows of one, or "". MariaDB and SQLite would read the whole list as one row. PostgreSQL
// would repeat a row with the same keys.
func changesRows(text string) string {
	if strings.IndexByte(text, '(') < 0 {
		return ""
	}
	return changed.get(text, func() string {
		sql := stripped(quotedCall.ReplaceAllString(text, "$1("))
		if name := findCall(sql, setReturning); name != "" {
			return name + ", which makes several rows of one; call it in From, as in CROSS JOIN LATERAL " + strings.ToLower(name) + "(…), or write the whole statement into Base.Query"
		}
		if name := findCall(sql, aggregates); name != "" {
			return name + ", which makes one row of the list; use a sub-select or OVER, or write the whole statement into Base.Query"
		}
		return ""
	})
}

// findCall returns the first function of a kind that a text calls outside its sub-selects and
// without OVER.
func findCall(sql string, functions *regexp.Regexp) string {
	for i := 0; i < len(sql); i++ {
		if sql[i] != '(' {
			continue
		}
		end := closing(sql, i)
		if selects.MatchString(sql[i+1:]) {
			i = end
			continue
		}
		call := functions.FindStringSubmatch(sql[:i+1])
		if call == nil {
			continue
		}
		name, arguments, rest := strings.ToUpper(call[1]), sql[i+1:end], sql[min(end+1, len(sql)):]
		for clause := behindAggregate.FindStringIndex(rest); clause != nil; clause = behindAggregate.FindStringIndex(rest) {
			rest = rest[min(closing(rest, clause[1]-1)+1, len(rest)):]
		}
		scalar := scalars.MatchString(name) && strings.IndexByte(topLevel(arguments), ',') >= 0
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
