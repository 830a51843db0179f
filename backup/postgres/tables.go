package postgres

import "fmt"

// only reduces the table of contents to some tables and their dependencies. It leaves out
// triggers, and foreign keys to other tables.
func (t *toc) only(tables []string) error {
	byID := map[string]*tocEntry{}
	for _, e := range t.entries {
		byID[fmt.Sprint(e.id)] = e
	}
	in := map[*tocEntry]bool{}
	var take func(e *tocEntry)
	take = func(e *tocEntry) {
		if in[e] {
			return
		}
		in[e] = true
		for _, need := range e.needs {
			if n := byID[need.s]; n != nil {
				take(n)
			}
		}
	}
	wanted := map[string]bool{}
	for _, name := range tables {
		wanted[name] = true
	}
	for _, e := range t.entries {
		partition := postgresName(e.schema.s, e.tag.s)
		if e.kind.s == "TABLE DATA" && wanted[e.copiedTo(partition)] {
			wanted[partition] = true
		}
	}
	found := map[string]bool{}
	for _, e := range t.entries {
		if name := postgresName(e.schema.s, e.tag.s); e.kind.s == "TABLE" && wanted[name] {
			found[name] = true
			take(e)
		}
	}
	for _, name := range tables {
		if !found[name] {
			return fmt.Errorf("backup: the dump holds no table %s", name)
		}
	}
	for more := true; more; {
		more = false
		for _, e := range t.entries {
			if in[e] || !dependent[e.kind.s] || len(e.needs) == 0 {
				continue
			}
			if e.kind.s == "TABLE DATA" && !wanted[postgresName(e.schema.s, e.tag.s)] {
				continue
			}
			all, any := true, false
			for _, need := range e.needs {
				n := byID[need.s]
				switch {
				case n == nil:
				case in[n]:
					any = true
				case relation[n.kind.s]:
					all = false
				}
			}
			if all && any {
				take(e)
				more = true
			}
		}
	}
	t.keep(func(e *tocEntry) bool {
		return in[e] || e.kind.s == "ENCODING" || e.kind.s == "STDSTRINGS" || e.kind.s == "SEARCHPATH"
	})
	return nil
}

// dependent are the kinds of entries that belong to a table or to its sequences.
var dependent = map[string]bool{
	"TABLE DATA": true, "DEFAULT": true, "CONSTRAINT": true, "FK CONSTRAINT": true, "CHECK CONSTRAINT": true, "INDEX": true, "INDEX ATTACH": true,
	"TABLE ATTACH": true, "SEQUENCE OWNED BY": true, "SEQUENCE SET": true, "STATISTICS": true, "COMMENT": true, "ACL": true, "ROW SECURITY": true,
	"POLICY": true, "STATISTICS DATA": true,
}

// relation are the kinds of entries that are never added as a dependency. An entry that
// needs one outside of the requested tables is left out.
var relation = map[string]bool{"TABLE": true, "VIEW": true, "MATERIALIZED VIEW": true, "FOREIGN TABLE": true, "INDEX": true, "CONSTRAINT": true}
