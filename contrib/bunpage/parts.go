package bunpage

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// parts reads the parts of a query that bun does not export.
type parts struct{ query reflect.Value }

func partsOf(q *bun.SelectQuery) parts { return parts{reflect.ValueOf(q).Elem()} }

// fault says why a query cannot be paged, or "".
func (p parts) fault() string {
	for _, name := range []string{"order", "limit", "offset", "tableModel", "columns", "distinctOn", "conn"} {
		if !p.query.FieldByName(name).IsValid() {
			return "this version of bun has no field " + name + " in its queries; use the version that bunpage requires"
		}
	}
	relations := p.query.FieldByName("tableModel")
	for relations.Kind() == reflect.Interface || relations.Kind() == reflect.Pointer {
		relations = relations.Elem()
	}
	switch {
	case p.query.FieldByName("order").Len() > 0:
		return "the query has an order; remove it, and set the order in keyset.Options.Ordering or in the request"
	case p.query.FieldByName("limit").Int() != 0 || p.query.FieldByName("offset").Int() != 0:
		return "the query has a limit or an offset; remove it, because the page has its own, or write it into a sub-query in TableExpr"
	case !relations.IsValid():
		return ""
	case !relations.FieldByName("joins").IsValid():
		return "this version of bun has no joins in its models; use the version that bunpage requires"
	case relations.FieldByName("joins").Len() > 0:
		return "the query has a relation; remove it, and load the relation in Load of the source, or join its table and select its columns"
	}
	return ""
}

func (p parts) distinct() bool { return !p.query.FieldByName("distinctOn").IsNil() }

// conn returns the transaction or the connection of a query, or nil.
func (p parts) conn() keyset.Queryer {
	conn := p.query.FieldByName("conn")
	q, _ := reflect.NewAt(conn.Type(), conn.Addr().UnsafePointer()).Elem().Interface().(keyset.Queryer)
	return q
}

// resultName finds the names that an expression gives to columns.
var resultName = regexp.MustCompile("(?i)\\bAS\\s+[\"`\\[]?(\\w+)|\\.[\"`\\[]?(\\w+)[\"`\\]]?\\s*$")

// columnName is one column of a text: a name with its qualifiers, or anything with AS.
var columnName = regexp.MustCompile("(?i)^(?:[^*]*\\bAS\\s+|\\s*)(?:[?\\w\"`\\[\\]]+\\.)*[\"`\\[]?(\\w+)[\"`\\]]?\\s*$")

// brackets is the innermost pair of brackets, and distinct begins a text whose rows depend on
// its columns.
var (
	brackets = regexp.MustCompile(`\([^()]*\)`)
	distinct = regexp.MustCompile(`(?i)^\s*DISTINCT\b`)
)

// namedFields returns the fields of a text such as "id, upper(s.name) AS extra". It returns
// false for a text with anything else, such as "s.*".
func namedFields(table *schema.Table, text string) (fields []*schema.Field, ok bool) {
	for inner := ""; inner != text; {
		inner, text = text, brackets.ReplaceAllString(text, "")
	}
	if distinct.MatchString(text) {
		return nil, false
	}
	for column := range strings.SplitSeq(text, ",") {
		name := columnName.FindStringSubmatch(column)
		if name == nil || table.FieldMap[name[1]] == nil {
			return nil, false
		}
		fields = append(fields, table.FieldMap[name[1]])
	}
	return fields, true
}

// fields returns the fields of the result. whole reports whether they are all fields of the
// table, perhaps with more.
func (p parts) fields(table *schema.Table) (fields []*schema.Field, whole bool) {
	columns := p.query.FieldByName("columns")
	if columns.IsNil() {
		return table.Fields, true
	}
	seen := make(map[*schema.Field]bool)
	add := func(f *schema.Field) {
		if f != nil && !seen[f] {
			seen[f], fields = true, append(fields, f)
		}
	}
	for i := range columns.Len() {
		c := columns.Index(i)
		text := c.FieldByName("Query").String()
		if named, ok := namedFields(table, text); ok {
			for _, f := range named {
				add(f)
			}
			continue
		}
		// An expression may stand for all columns, such as "sale.*". The database reports one
		// that is missing.
		whole = true
		for _, name := range resultName.FindAllStringSubmatch(text, -1) {
			add(table.FieldMap[name[1]+name[2]])
		}
	}
	if whole {
		for _, f := range table.Fields {
			add(f)
		}
	}
	return fields, whole
}
