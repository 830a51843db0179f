package keyset

import (
	"context"
	"database/sql"
	"hash/maphash"
	"regexp"
	"slices"
	"sync"
)

// reference stands for an argument in a compiled statement.
type reference struct {
	from  source
	index int
}

// source says where the arguments of a statement come from.
type source uint8

const (
	literal   source = iota // the argument itself
	fromBase                // Base.Args
	fromAfter               // Seek.After
	fromUntil               // Seek.Until
	fromLimit               // Seek.Limit
)

// compiled is the statement of a seek. It serves every position of the same shape.
type compiled struct {
	text    string
	args    []any
	forms   []form
	taps    []int // the result column that holds each key; -1 = a separate column
	typed   []int // the result column whose type is compared with the form of each key; -1 = none
	hidden  bool  // the values of a key do not show a change of its type
	columns []string
	index   string // the index in the text

	mu       sync.Mutex
	db       *sql.DB // the database of prepared
	prepared *sql.Stmt
	foreign  int  // runs on other databases since the last run on db
	kept     bool // a cache closes prepared
}

// shape identifies the statements of a list: two seeks with one shape have the same text.
type shape struct {
	dialect            Dialect
	from, where, query string
	order              string
	index              string
	question, literal  bool
	backward           bool
	inclusive          bool
	args               int
	usual              int    // the limit in the text; 0 = an argument
	after, until       uint64 // kinds of the values
	columns            uint64 // hash of the columns
}

var columnsSeed = maphash.MakeSeed()

func hashOf(columns []string) (hash uint64) {
	for _, c := range columns {
		hash = hash*31 + maphash.String(columnsSeed, c)
	}
	return hash
}

// kindsOf packs the kinds of a position: the form of a statement depends on them.
func kindsOf(values []Value) uint64 {
	if values == nil {
		return 0
	}
	packed := uint64(1)
	for i := range values {
		packed = packed<<4 | uint64(values[i].kind)
	}
	return packed
}

// listCache keeps the types of the sort keys of a list, and its statements.
type listCache struct {
	mu         sync.RWMutex
	types      map[typeKey]form
	outputs    map[typeKey][]name // the names of the columns of the list
	indexes    map[indexKey]string
	ends       map[indexKey]uint64 // how often a seek reached the end of the list
	statements map[shape]*compiled
}

// mostCached is the number of types and of statements that a cache holds. A list has a few
// of each. A caller that writes values into its texts makes more. The cache is then
// cleared.
const mostCached = 1000

// compile returns the statement of a seek.
func (s SQLSource[T]) compile(ctx context.Context, q Seek) (*compiled, error) {
	key := shape{
		dialect: s.Dialect, from: s.Base.From, where: s.Base.Where, query: s.Base.Query, question: s.Base.Question, literal: s.Base.Literal, args: len(s.Base.Args),
		order: q.Order.spec, backward: q.Backward, inclusive: q.Inclusive, after: kindsOf(q.After), until: kindsOf(q.Until), columns: hashOf(s.Base.Columns),
	}
	key.usual = q.limitInText(s.Dialect)
	if q.also == nil {
		key.index = s.indexFor(ctx, q.Order)
	}
	cache := q.Order.cache
	remembered := len(q.Order.keys) < 16 && q.also == nil
	if remembered {
		cache.mu.RLock()
		c := cache.statements[key]
		cache.mu.RUnlock()
		if c != nil && slices.Equal(c.columns, s.Base.Columns) {
			return c, nil
		}
	}
	c, err := s.build(ctx, q, key.index)
	if err == nil && remembered {
		cache.keep(key, c)
	}
	return c, err
}

func (c *listCache) keep(key shape, s *compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.statements) >= mostCached {
		c.drop()
	}
	if c.statements == nil {
		c.statements = make(map[shape]*compiled)
	}
	if old := c.statements[key]; old != nil {
		old.close()
	}
	s.kept = true
	c.statements[key] = s
}

// build writes the statement of a seek with references for its arguments.
func (s SQLSource[T]) build(ctx context.Context, q Seek, index string) (*compiled, error) {
	keys := q.Order.keys
	if q.also != nil {
		keys = q.also
	}
	forms, err := s.forms(ctx, q.Order.cache, keys)
	if err != nil {
		return nil, err
	}
	outputs, err := s.outputs(ctx, q.Order.cache)
	if err != nil {
		return nil, err
	}
	c := &compiled{forms: forms, taps: taps(s.Dialect, s.Base.Columns, keys, forms), columns: slices.Clone(s.Base.Columns), index: index}
	c.compareTypes()
	base := s.Base
	if index != "" {
		if base, err = base.forced(index); err != nil {
			return nil, err
		}
	}
	if s.Dialect == MySQL && slices.ContainsFunc(forms, func(f form) bool { return f.class == classString }) {
		base.Query = whole(base.Query)
	}
	base.Keys = true
	base.Args = make([]any, len(s.Base.Args))
	for i := range base.Args {
		base.Args[i] = reference{fromBase, i}
	}
	q.forms, q.taps, q.outputs, q.symbolic = forms, c.taps, outputs, true
	c.text, c.args, err = q.SQL(s.Dialect, base)
	return c, err
}

// whole puts a statement that groups behind a limit, through which MariaDB moves no condition
// into the group. It loses rows there by a UUID, which its drivers report as a CHAR.
func whole(query string) string {
	if !groups.MatchString(MySQL.stripped(query)) {
		return query
	}
	return "SELECT * FROM (" + MySQL.closed(query) + ") mainstay_g LIMIT 18446744073709551615"
}

var groups = regexp.MustCompile(`(?i)\bGROUP\s+BY\b`)

// taps returns, for each key, the column of the result that holds its value as the database
// stores it, or -1.
func taps(d Dialect, columns []string, keys []Key, forms []form) []int {
	at := make([]int, len(keys))
	for i, k := range keys {
		at[i] = -1
		if forms[i].bare() && len(k.Args) == 0 {
			at[i] = slices.IndexFunc(columns, func(column string) bool {
				expr, _ := d.splitAlias(column)
				return expr == k.Expr
			})
		}
	}
	return at
}

// arguments returns the arguments of a statement for one seek.
func (c *compiled) arguments(base []any, q Seek) []any {
	args := make([]any, len(c.args))
	for i, a := range c.args {
		r, ok := a.(reference)
		switch {
		case !ok:
			args[i] = a
		case r.from == fromBase:
			args[i] = base[r.index]
		case r.from == fromAfter:
			args[i] = c.forms[r.index].argument(q.After[r.index])
		case r.from == fromUntil:
			args[i] = c.forms[r.index].argument(q.Until[r.index])
		default:
			args[i] = q.Limit
		}
	}
	return args
}

// query runs a statement. SQLite spends a third of a page's time on parsing, so the
// statement is prepared once per database there.
func (s SQLSource[T]) query(ctx context.Context, c *compiled, args []any) (Rows, error) {
	db, ok := s.DB.(*sql.DB)
	if !ok || s.Query != nil || s.Dialect != SQLite {
		return s.run(ctx, c.text, args)
	}
	stmt, err := c.prepare(ctx, db)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return s.run(ctx, c.text, args)
	}
	return s.runPrepared(ctx, c, stmt, args)
}

// runPrepared runs a prepared statement, or its text if another page has closed it.
func (s SQLSource[T]) runPrepared(ctx context.Context, c *compiled, stmt *sql.Stmt, args []any) (Rows, error) {
	rows, err := stmt.QueryContext(ctx, args...) //nolint:rowserrcheck // the caller checks it
	if err == nil {
		return rows, nil
	}
	c.mu.Lock()
	closed := c.prepared != stmt
	c.mu.Unlock()
	if closed {
		return s.run(ctx, c.text, args)
	}
	return nil, err
}

// prepare returns the statement for a database, or nil if the list alternates between many
// databases.
func (c *compiled) prepare(ctx context.Context, db *sql.DB) (*sql.Stmt, error) {
	const patience = 100
	if !c.mu.TryLock() { // another page is preparing it
		return nil, nil
	}
	defer c.mu.Unlock()
	switch {
	case !c.kept:
		return nil, nil
	case c.db == db:
		c.foreign = 0
		return c.prepared, nil
	case c.db != nil && c.foreign < patience:
		c.foreign++
		return nil, nil
	}
	stmt, err := db.PrepareContext(ctx, c.text)
	if err != nil {
		return nil, err
	}
	if c.prepared != nil {
		_ = c.prepared.Close() // rows that are being read from it stay open
	}
	c.db, c.prepared, c.foreign = db, stmt, 0
	return stmt, nil
}

// close ends the use of the prepared statement.
func (c *compiled) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prepared != nil {
		_ = c.prepared.Close()
	}
	c.db, c.prepared, c.kept = nil, nil, false
}

// forget drops the types, indexes and statements of a list because its table may have changed.
func (c *listCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	c.types, c.outputs, c.indexes, c.ends = nil, nil, nil, nil
}

func (c *listCache) drop() {
	for _, s := range c.statements {
		s.close()
	}
	c.statements = nil
}
