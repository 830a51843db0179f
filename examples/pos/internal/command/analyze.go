package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/mainstay-go/mainstay/examples/pos/internal/dbreport"
	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// analysis is the result of pos analyze, with advice for each finding.
type analysis struct {
	Database *dbreport.Report `json:"database"`
	Routes   []routeCost      `json:"routes"`
	Cache    cacheUse         `json:"cache"`
	Advice   []advice         `json:"advice"`
}

type advice struct {
	About string `json:"about"`
	Do    string `json:"do"`
}

// analyze reports on the database, the statements of the routes and the cache. It changes no
// data, and may run beside the server.
func analyze(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	flags := flag.NewFlagSet("analyze", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "")
	if wantsHelp(rest) {
		commandHelp(env, "analyze [--json]", "Reports on the database, the statements of each route and the cache, and says what to do.\n"+
			"With --ops-token and --addr of a running server, the hit ratio is that server's.")
		return exitOK
	}
	if err := flags.Parse(rest); err != nil {
		return refuse(env, settings.Errorf("%s; see pos analyze -h", err))
	}
	if flags.NArg() > 0 {
		return refuse(env, leftover(flags.Args()))
	}
	st, err := store.OpenExisting(ctx, s)
	if err != nil {
		return refuse(env, err)
	}
	defer func() { _ = st.Close() }()
	var a analysis
	if a.Database, err = dbreport.Read(ctx, st.Reader(), st.Engine()); err != nil {
		return refuse(env, fmt.Errorf("cannot read the database's catalogue: %w", err))
	}
	if a.Routes, a.Cache, err = measureRoutes(ctx, s, st); err != nil {
		return refuse(env, err)
	}
	askServer(ctx, s, &a.Cache)
	a.advise(st.Engine())
	if *asJSON {
		out := json.NewEncoder(env.Stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(a)
	} else {
		err = a.write(env.Stdout)
	}
	if err != nil {
		return refuse(env, err)
	}
	return exitOK
}

// The limits above which analyze gives advice.
const (
	slowConnectMicros = 50_000
	manyStatements    = 10 // of one response; a list that reads row by row has dozens
	lowHitRatio       = 0.5
	enoughReads       = 100
	freeShare         = 4 // a quarter of the file
)

func (a *analysis) advise(engine settings.Engine) {
	a.Advice = []advice{}
	add := func(about, do string, args ...any) {
		a.Advice = append(a.Advice, advice{About: about, Do: fmt.Sprintf(do, args...)})
	}
	db := a.Database
	for _, fk := range db.Unindexed {
		columns := strings.Join(fk.Columns, ", ")
		add(fk.Table, "deleting from %s reads all of %s: CREATE INDEX %s_%s ON %s (%s)",
			fk.References, fk.Table, fk.Table, strings.Join(fk.Columns, "_"), fk.Table, columns)
	}
	for _, d := range db.Doubled {
		add(d.Table, "every write keeps %s up to date, and %s does the same work: drop %s", d.Index, d.By, d.Index)
	}
	for _, x := range db.Unused {
		add(x.Table, "no query has used %s since the server began to count; if that was weeks ago, drop it", x.Index)
	}
	if db.Unused == nil {
		switch engine {
		case settings.MySQL:
			add("indexes", "their use is not counted: SET GLOBAL userstat = 1 (MariaDB), then look again in some days")
		default:
			add("indexes", "this engine does not count their use; EXPLAIN QUERY PLAN shows it for a query")
		}
	}
	if db.ConnectMicros > slowConnectMicros {
		add("connection", "a new one takes %s: keep the pool's connections longer, or move the server nearer", micros(db.ConnectMicros))
	}
	if db.Bytes > 1<<20 && db.FreeBytes > db.Bytes/freeShare {
		add("database", "%s of %s are free space inside the file: VACUUM, at a quiet hour", size(db.FreeBytes), size(db.Bytes))
	}
	for _, r := range a.Routes {
		switch {
		case r.Status != 200:
			add(r.Route, "it answered %d: look at the log", r.Status)
		case r.Cold > manyStatements:
			add(r.Route, "%d statements for one answer: read related rows at once instead of one by one", r.Cold)
		}
	}
	if c := a.Cache; c.Source != thisRun && c.Hits+c.Misses >= enoughReads && c.HitRatio < lowHitRatio {
		add("cache", "only %.0f %% of reads are hits: look which cache misses, and whether its values live too short or are evicted", 100*c.HitRatio)
	}
}

func (a *analysis) write(w io.Writer) error {
	db := a.Database
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s %s, %s, connected in %s\n", db.Engine, db.Version, size(db.Bytes), micros(db.ConnectMicros))
	fmt.Fprint(t, "\nTABLE\tROWS\tSIZE\tINDEXES\n")
	for _, table := range db.Tables {
		about := ""
		if table.Estimated {
			about = "~"
		}
		for i, x := range table.Indexes {
			if i == 0 {
				fmt.Fprintf(t, "%s\t%s%d\t%s\t", table.Name, about, table.Rows, size(table.Bytes))
			} else {
				fmt.Fprint(t, "\t\t\t")
			}
			fmt.Fprintf(t, "%s (%s)", x.Name, strings.Join(x.Columns, ", "))
			if x.Scans != nil {
				fmt.Fprintf(t, " used %d times", *x.Scans)
			}
			fmt.Fprintln(t)
		}
		if len(table.Indexes) == 0 {
			fmt.Fprintf(t, "%s\t%s%d\t%s\tnone\n", table.Name, about, table.Rows, size(table.Bytes))
		}
	}
	fmt.Fprint(t, "\nROUTE\tSTATEMENTS\tFROM THE CACHE\tTIME\tCACHED\n")
	for _, r := range a.Routes {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", r.Route, r.Cold, r.Warm, micros(r.ColdMicros), micros(r.WarmMicros))
	}
	fmt.Fprintf(t, "\nCache in %s, as seen by %s: %d hits, %d misses, ratio %.2f\n", a.Cache.Backend, a.Cache.Source, a.Cache.Hits, a.Cache.Misses, a.Cache.HitRatio)
	fmt.Fprint(t, "\nWHAT TO DO\n")
	for _, x := range a.Advice {
		fmt.Fprintf(t, "%s\t%s\n", x.About, x.Do)
	}
	if len(a.Advice) == 0 {
		fmt.Fprintln(t, "nothing")
	}
	return t.Flush()
}

func micros(n int64) string { return fmt.Sprintf("%.1f ms", float64(n)/1000) }

func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	n, unit := float64(bytes), 0
	for n >= 1024 && unit < len(units)-1 {
		n, unit = n/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", n, units[unit])
}
