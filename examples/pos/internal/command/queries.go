package command

import (
	"context"
	"fmt"

	"github.com/mainstay-go/mainstay/examples/pos/internal/settings"
	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/pagination/querycount"
)

// queries counts the statements of two listings, read row by row and read in batches.
func queries(ctx context.Context, env Env, args []string) int {
	st, code := openShop(ctx, env, args, "queries", "Counts the statements of two listings, without and with query optimisation.")
	if st == nil {
		return code
	}
	defer func() { _ = st.Close() }()
	id := keyset.Key{Name: "id", Unique: true}
	for _, listing := range []struct {
		what   string
		naive  func(context.Context) (int, error)
		joined func(context.Context) (int, error)
	}{
		{
			"products with category and stock",
			func(ctx context.Context) (int, error) { return length(st.ProductsOneByOne(ctx, 20)) },
			func(ctx context.Context) (int, error) {
				return length(st.Products(store.ProductFilter{}, orderBy(id, "p.id")).List(ctx, 20, 0))
			},
		},
		{
			"customers with children",
			func(ctx context.Context) (int, error) { return length(st.CustomersOneByOne(ctx, 15)) },
			func(ctx context.Context) (int, error) {
				return length(st.Customers("", orderBy(id, "c.id")).List(ctx, 15, 0))
			},
		},
	} {
		rows, without, err := count(ctx, listing.naive)
		if err != nil {
			return refuse(env, err)
		}
		_, with, err := count(ctx, listing.joined)
		if err != nil {
			return refuse(env, err)
		}
		fmt.Fprintf(env.Stdout, "%d %s: %d → %d statements\n", rows, listing.what, without, with)
	}
	return exitOK
}

func count(ctx context.Context, f func(context.Context) (int, error)) (rows, statements int, err error) {
	ctx, counter := querycount.With(ctx)
	rows, err = f(ctx)
	return rows, counter.Total(), err
}

func length[T any](list []T, err error) (int, error) { return len(list), err }

// orderBy returns an order by one unique column.
func orderBy(key keyset.Key, expr string) keyset.Order {
	key.Expr = expr
	order, err := keyset.NewOrder(nil, key)
	if err != nil {
		panic(err) // a unique column is always a total order
	}
	return order
}

// openShop loads the settings of a command without flags of its own, and opens the database for
// reading. If the store is nil, the command ends with the returned exit code.
func openShop(ctx context.Context, env Env, args []string, name, help string) (*store.Store, int) {
	if wantsHelp(args) {
		commandHelp(env, name, help)
		return nil, exitOK
	}
	s, rest, err := settings.Load(args, env.Getenv)
	if err == nil && len(rest) > 0 {
		err = leftover(rest)
	}
	if err != nil {
		return nil, refuse(env, err)
	}
	st, err := store.OpenExisting(ctx, s)
	if err != nil {
		return nil, refuse(env, err)
	}
	return st, exitOK
}

func commandHelp(env Env, name, help string) {
	fmt.Fprintf(env.Stdout, "Usage: pos %s\n\n%s\n\nSettings:\n", name, help)
	settings.WriteHelp(env.Stdout, "data", "database")
}
