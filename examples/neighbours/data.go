package neighbours

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"gorm.io/gorm"

	"github.com/mainstay-go/mainstay/cache"
	"github.com/mainstay-go/mainstay/cache/rediscache"
	"github.com/mainstay-go/mainstay/contrib/gormpage"
	"github.com/mainstay-go/mainstay/contrib/pgxpage"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Sale is a row of a list.
type Sale struct {
	ID        int64     `db:"id" gorm:"primaryKey" page:"sort,unique"`
	CreatedAt time.Time `db:"created_at" page:"sort"`
}

func withPgx(pool *pgxpool.Pool, cursors *keyset.Cursors) (http.HandlerFunc, error) {
	model, err := keyset.NewModel[Sale]("db", "")
	if err != nil {
		return nil, err
	}
	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, nil)
	if err != nil {
		return nil, err
	}
	source := pgxpage.Source(pool, model, keyset.Base{From: "sales"})
	return func(w http.ResponseWriter, r *http.Request) {
		page, err := sales.Paginate(r, source)
		if err != nil {
			pagination.WriteError(w, err)
			return
		}
		_ = page.Write(w)
	}, nil
}

func withGorm(db *gorm.DB, cursors *keyset.Cursors) (http.HandlerFunc, error) {
	sales, err := gormpage.New[Sale](db, "sales", pagination.Standard, cursors, nil)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		page, err := sales.Paginate(r, sales.Source(db.Where("amount > ?", 0)))
		if err != nil {
			pagination.WriteError(w, err)
			return
		}
		_ = page.Write(w)
	}, nil
}

func fromGocache() (*cache.Typed[Sale], error) {
	return cache.New[Sale](nil, "sales", 5*time.Minute, nil)
}

func fromGoRedisCache(client redis.UniversalClient) (*rediscache.Store, *cache.Typed[Sale], error) {
	store, err := rediscache.New(client, nil)
	if err != nil {
		return nil, nil, err
	}
	sales, err := cache.New[Sale](store, "sales", time.Hour, nil)
	return store, sales, err
}

func readSale(ctx context.Context, sales *cache.Typed[Sale], id string, load func(context.Context, string) (Sale, error)) (Sale, error) {
	return sales.GetOrLoad(ctx, id, func(ctx context.Context) (Sale, error) {
		return load(ctx, id)
	})
}
