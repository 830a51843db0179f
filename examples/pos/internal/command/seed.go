package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
)

// seed fills an empty database with demo data of any size.
func seed(ctx context.Context, env Env, args []string) int {
	s, rest, err := settings.Load(args, env.Getenv)
	if err != nil {
		return refuse(env, err)
	}
	var demo store.Demo
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&demo.Products, "products", 450, "")
	flags.IntVar(&demo.Customers, "customers", 120, "")
	flags.IntVar(&demo.Sales, "sales", 10_000, "")
	if wantsHelp(rest) {
		commandHelp(env, "seed [--products N] [--customers N] [--sales N]",
			"Fills an empty database with demo data, the same for the same numbers and day.\nDefault: 450 products, 120 customers, 10000 sales.")
		return exitOK
	}
	if err := flags.Parse(rest); err != nil {
		return refuse(env, settings.Errorf("%s; see pos seed -h", err))
	}
	if flags.NArg() > 0 {
		return refuse(env, leftover(flags.Args()))
	}
	if min(demo.Products, demo.Customers, demo.Sales) < 1 || max(demo.Products, demo.Customers, demo.Sales) > 100_000_000 {
		return refuse(env, settings.Errorf("--products, --customers and --sales: want 1 to 100000000"))
	}
	st, err := store.Open(ctx, s)
	if err != nil {
		return refuse(env, err)
	}
	defer func() { _ = st.Close() }()
	bar := &progress{w: env.Stderr, terminal: isTerminal(env.Stderr)}
	demo.Progress = bar.show
	start := time.Now()
	now, err := st.Now(ctx)
	if err == nil {
		err = st.Seed(ctx, calendar(s), now, demo)
	}
	bar.end()
	if err != nil {
		return refuse(env, settings.Errorf("%s", err))
	}
	fmt.Fprintf(env.Stdout, "%d products, %d customers and %d sales in %s\n",
		demo.Products, demo.Customers, demo.Sales, time.Since(start).Round(10*time.Millisecond))
	return exitOK
}

// progress is a bar on a terminal. Elsewhere it is a line for each tenth.
type progress struct {
	w        io.Writer
	terminal bool
	shown    time.Time
	tenths   int
}

func (p *progress) show(done, total int) {
	const width = 30
	switch {
	case p.terminal:
		if done < total && time.Since(p.shown) < 50*time.Millisecond {
			return
		}
		p.shown = time.Now()
		full := int(width * int64(done) / int64(total))
		fmt.Fprintf(p.w, "\r[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*int64(done)/int64(total))
	case int(10*int64(done)/int64(total)) > p.tenths:
		p.tenths = int(10 * int64(done) / int64(total))
		fmt.Fprintf(p.w, "%d %%\n", 10*p.tenths)
	}
}

func (p *progress) end() {
	if p.terminal && !p.shown.IsZero() {
		fmt.Fprintln(p.w)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
