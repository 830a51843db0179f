package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// environment holds the statements of a dump about the database itself, with its new name.
// It also holds the list of entries that a restore leaves out.
type environment struct {
	cluster    cluster
	name       string
	how        restoreHow
	statements []string
	searchPath string          // of the database
	missing    map[string]bool // roles that do not exist on this server
	strangers  map[string]bool // owners in whose role the restoring role is no member
	privileged []string        // entries that only a superuser can restore
	left       []string        // other entries that were left out
	out        map[string]bool // ids of entries that were left out
}

// adapt changes a table of contents for a server. It removes owners, privileges, policies
// and tablespaces that the server does not have, and entries that only a superuser can
// restore. It lists what it removed. It keeps every revocation from PUBLIC. Entries about
// the database itself become statements with its new name.
func (t *toc) adapt(c cluster, name string, how restoreHow) *environment {
	e := &environment{cluster: c, name: name, how: how, searchPath: `"$user", public`, missing: map[string]bool{}, strangers: map[string]bool{}, out: map[string]bool{}}
	objects := map[string]bool{}
	for _, entry := range t.entries {
		objects[fmt.Sprint(entry.id)] = entry.kind.s != "ACL"
	}
	t.keep(func(entry *tocEntry) bool {
		e.owner(entry)
		for _, need := range entry.needs {
			if e.out[need.s] && (entry.isNote() || entry.kind.s == "ACL" || strings.HasPrefix(entry.kind.s, "PUBLICATION ")) {
				return false
			}
		}
		keep := true
		switch entry.kind.s {
		case "DATABASE", "DATABASE PROPERTIES":
			e.database(entry)
			return false
		case "ACL", "DEFAULT ACL":
			foreign := !slices.ContainsFunc(entry.needs, func(need text) bool { return objects[need.s] })
			return e.privileges(entry, foreign && entry.kind.s == "ACL" && !entry.ofPublic())
		case "COMMENT", "SECURITY LABEL":
			if entry.kind.s == "SECURITY LABEL" && !e.label(entry) {
				return false
			}
			if entry.ofDatabase() {
				for _, s := range statements(entry.definition.s) {
					e.statements = append(e.statements, renamed(s, name))
				}
				return false
			}
			keep = c.superuser || !strings.HasPrefix(entry.tag.s, "EXTENSION ")
		case "POLICY":
			keep = e.policy(entry)
		case "USER MAPPING":
			if role := tokens(entry.definition.s); len(role) > 4 && !strings.EqualFold(role[4], public) && e.without([]string{unquote(role[4])}) {
				e.leave("the %s", entry)
				keep = false
			}
		case "EVENT TRIGGER", "PUBLICATION TABLES IN SCHEMA":
			keep = e.superuserOnly(entry)
		case "PUBLICATION":
			keep = !slices.Contains(tokens(entry.definition.s), "ALL") || e.superuserOnly(entry)
		case "SUBSCRIPTION":
			if keep = !how.test && e.superuserOnly(entry); keep {
				entry.definition = some(withoutSlot(entry.definition.s))
				e.leave("the slot of the %s, which is disabled: the slot belongs to the original", entry)
			}
		}
		if !keep {
			e.out[fmt.Sprint(entry.id)] = true
		}
		return keep
	})
	// Statements of other grantors need access to the schemas. The access lists of schemas
	// therefore come last.
	slices.SortStableFunc(t.entries, func(a, b *tocEntry) int { return cmp.Compare(a.ofSchema(), b.ofSchema()) })
	if how.test {
		e.settingsOnly()
	}
	return e
}

func (e *environment) leave(format string, args ...any) {
	e.left = append(e.left, fmt.Sprintf(format, args...))
}

// without reports whether one of the roles does not exist on the server, and remembers the
// missing roles.
func (e *environment) without(roles []string) bool {
	found := false
	for _, role := range roles {
		if !e.cluster.exists(role) {
			e.missing[role] = true
			found = true
		}
	}
	return found
}

// superuserOnly reports whether the restoring role is a superuser. If not, it lists the
// entry as left out.
func (e *environment) superuserOnly(entry *tocEntry) bool {
	if e.cluster.superuser {
		return true
	}
	e.privileged = append(e.privileged, entry.String())
	return false
}

// owner removes an owner and a tablespace that do not exist on the server.
func (e *environment) owner(entry *tocEntry) {
	owner := entry.owner.s
	switch {
	case owner == "":
	case !e.cluster.exists(owner):
		e.missing[owner] = true
		entry.owner = some("")
	case !e.cluster.superuser && !e.cluster.roles[owner]:
		e.strangers[owner] = true
		entry.owner = some("")
	}
	if space := entry.tablespace.s; space != "" && !slices.Contains(e.cluster.tablespaces, space) {
		e.leave("the tablespace %s of the %s", space, entry)
		entry.tablespace = some("")
	}
}

// database adds the owner and the settings of the database to the statements.
func (e *environment) database(entry *tocEntry) {
	if entry.kind.s == "DATABASE" {
		if owner := entry.owner.s; owner != "" {
			e.statements = append(e.statements, "ALTER DATABASE "+quotePostgres(e.name)+" OWNER TO "+quotePostgres(owner))
		}
		return
	}
	for _, s := range statements(entry.definition.s) {
		t := tokens(s)
		if len(t) > 2 && t[0] == "ALTER" && t[1] == "ROLE" && e.without([]string{unquote(t[2])}) {
			e.leave("%s", s)
			continue
		}
		if _, path, found := strings.Cut(s, " SET search_path TO "); found && t[1] == "DATABASE" {
			e.searchPath = path
		}
		if !strings.Contains(s, "IS_TEMPLATE") {
			e.statements = append(e.statements, renamed(s, e.name))
		}
	}
}

// privileges removes the statements of an access list that this server or this role cannot
// execute. It reports whether any statements remain. A foreign object is one that the dump
// does not create: an object of the server or of an extension.
func (e *environment) privileges(entry *tocEntry, foreign bool) bool {
	c := e.cluster
	var kept []string
	var after string // runs after the statements of another grantor
	skip := false    // statements in the role of a grantor that this role cannot assume
	for _, s := range statements(entry.definition.s) {
		roles, first := rolesOf(s), tokens(s)[0]
		if first == "SET" {
			skip = !c.superuser
		}
		switch {
		case e.without(roles):
			e.leave("%s", s)
			skip = skip || first == "SET"
		case skip && first == "SET", skip && first == "RESET":
		case skip, foreign && !c.superuser,
			first == "ALTER" && len(roles) > 0 && !c.superuser && !c.roles[roles[0]]:
			e.leave("%s", s)
		case first == "SET" && entry.schema.s != "":
			// The grantor may have lost the right to the schema since then.
			usage := " USAGE ON SCHEMA " + quotePostgres(entry.schema.s)
			kept = append(kept, "GRANT"+usage+" TO "+quotePostgres(roles[0]), s)
			after = "REVOKE" + usage + " FROM " + quotePostgres(roles[0])
		case first == "RESET" && after != "":
			kept = append(kept, s, after)
			after = ""
		case entry.optional && first != "SET" && first != "RESET":
			kept = append(kept, ifItExists(s))
		default:
			kept = append(kept, s)
		}
		if first == "RESET" {
			skip = false
		}
	}
	if entry.ofDatabase() {
		for _, s := range kept {
			e.statements = append(e.statements, renamed(s, e.name))
		}
		return false
	}
	entry.definition = some(strings.Join(kept, ";\n") + ";\n")
	return len(kept) > 0
}

// ifItExists returns a statement that succeeds if its object does not exist.
func ifItExists(statement string) string {
	return "DO " + quoteText("BEGIN EXECUTE "+quoteText(statement)+
		"; EXCEPTION WHEN undefined_object OR undefined_table OR undefined_function OR undefined_column OR invalid_schema_name THEN NULL; END")
}

// label removes the security labels whose provider the server does not have. It reports
// whether any remain.
func (e *environment) label(entry *tocEntry) bool {
	var kept []string
	for _, s := range statements(entry.definition.s) {
		if provider := labelProvider(s); !e.cluster.labels[provider] {
			e.leave("the security label of %s on %s, whose provider is not loaded", provider, entry.tag.s)
			continue
		}
		kept = append(kept, s)
	}
	entry.definition = some(strings.Join(kept, ";\n") + ";\n")
	return len(kept) > 0
}

// policy removes missing roles from a policy. It returns false if no role remains.
func (e *environment) policy(entry *tocEntry) bool {
	from, to, roles := policyRoles(entry.definition.s)
	var here []string
	for _, role := range roles {
		if !e.without([]string{role}) {
			here = append(here, quoteRole(role))
		}
	}
	switch {
	case len(roles) == len(here):
	case len(here) == 0:
		e.leave("the %s, which is for %s alone", entry, strings.Join(roles, ", "))
		return false
	default:
		d := entry.definition.s
		entry.definition = some(d[:from] + "TO " + strings.Join(here, ", ") + d[to:])
	}
	return true
}

func quoteRole(role string) string {
	if role == "CURRENT_USER" || role == "SESSION_USER" || role == "CURRENT_ROLE" {
		return role
	}
	return quotePostgres(role)
}

// withoutSlot separates a subscription from the replication slot of the original. Otherwise
// dropping the copy would drop that slot.
func withoutSlot(definition string) string {
	out, state := definition, 0
	scan(definition, func(a, b int) bool {
		token := definition[a:b]
		switch {
		case token == "slot_name":
			state = 1
		case state == 1 && token == "=":
			state = 2
		case state == 2:
			out = definition[:a] + "NONE" + definition[b:]
			return false
		}
		return true
	})
	return out
}

// settingsOnly keeps only the statements that affect the behaviour of queries.
func (e *environment) settingsOnly() {
	var kept []string
	for _, s := range e.statements {
		if t := tokens(s); len(t) > 3 && t[0] == "ALTER" && t[1] == "DATABASE" && t[3] == "SET" {
			kept = append(kept, s)
		}
	}
	e.statements, e.left, e.privileged, e.strangers = kept, nil, nil, nil
}

// warnings lists the omissions of a restore.
func (e *environment) warnings() []string {
	var list []string
	if len(e.missing) > 0 {
		names := slices.Sorted(maps.Keys(e.missing))
		var create []string
		for _, name := range names {
			create = append(create, "CREATE ROLE "+quotePostgres(name)+";")
		}
		list = append(list, fmt.Sprintf("this server has no role %s; their objects belong to the role that restores. Create them before a restore (the backup's accounts file has them with their rights): %s",
			strings.Join(names, ", "), strings.Join(create, " ")))
	}
	if len(e.strangers) > 0 {
		list = append(list, fmt.Sprintf("objects of %s belong to %s, which is no member of these roles", strings.Join(slices.Sorted(maps.Keys(e.strangers)), ", "), e.cluster.user))
	}
	if len(e.privileged) > 0 {
		list = append(list, fmt.Sprintf("only a superuser can restore: %s", server.ShortList(e.privileged)))
	}
	if len(e.left) > 0 {
		list = append(list, "left out: "+server.ShortList(e.left))
	}
	return list
}

// apply executes the statements about the database. It returns the failed ones: a setting
// that only a superuser may change, or an owner that this role may not set.
func (e *environment) apply(ctx context.Context, db *sql.DB) (failed []string) {
	for _, s := range e.statements {
		if err := alter(ctx, db, s); err != nil {
			failed = append(failed, fmt.Sprintf("%s (%v)", s, err))
		}
	}
	return failed
}
