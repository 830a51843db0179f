package neighbours

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mainstay-go/mainstay/backup"
	"github.com/mainstay-go/mainstay/backup/backupnotify"
	"github.com/mainstay-go/mainstay/backup/bundle"
	"github.com/mainstay-go/mainstay/backup/driver"
	"github.com/mainstay-go/mainstay/backup/files"
	"github.com/mainstay-go/mainstay/backup/mysql"
	"github.com/mainstay-go/mainstay/backup/postgres"
	"github.com/mainstay-go/mainstay/backup/schedule"
	"github.com/mainstay-go/mainstay/backup/sqlite"
	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/alert"
	"github.com/mainstay-go/mainstay/health/history"
	"github.com/mainstay-go/mainstay/health/hostcheck"
	"github.com/mainstay-go/mainstay/health/monitor"
	"github.com/mainstay-go/mainstay/health/redischeck"
	"github.com/mainstay-go/mainstay/notify"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/concurrency"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
	"github.com/mainstay-go/mainstay/ratelimit/redislimit"
)

// The functions below contain the Go of the guides in docs. TestDocumentsCompile compares them.

// use takes values that a guide only shows.
func use(...any) error { return nil }

// request has the fields of AIP-158 and AIP-132.
type request struct {
	PageSize                           int32
	PageToken, OrderBy, Parent, Filter string
}

func limitInMemory(ctx context.Context, mux *http.ServeMux, api http.Handler) error {
	limiter, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	r, err := limiter.Allow(ctx, ratelimit.Key("user", "anna")) // r.Allowed, r.Remaining, r.RetryAfter
	address, err := ratelimit.ByIP(&ratelimit.IPOptions{TrustedProxies: []string{"10.0.0.0/8"}})
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address}}, nil)
	mux.Handle("/api/", limit.Wrap(api))
	return errors.Join(err, use(r))
}

func limitOnRedis(ctx context.Context) error {
	store, err := redislimit.New(redis.NewUniversalClient(redislimit.ClientOptions("127.0.0.1:6379")), nil)
	shared, err := store.Limiter(ratelimit.API(), nil) // 100 in any hour; give it to the rule instead of limiter
	go store.Run(ctx)                                  // counts the instances, and reports a Redis that evicts
	return errors.Join(err, use(shared))
}

func countFailures(r *http.Request, limiter ratelimit.Limiter, address ratelimit.KeyFunc) error {
	limit, err := ratelimit.NewMiddleware([]ratelimit.Rule{{Limiter: limiter, Key: address, FailuresOnly: true}}, nil)

	a := ratelimit.AdmissionFrom(r.Context())
	a.Succeed() // gives the unit back
	return errors.Join(err, use(limit))
}

func charge(r *http.Request, tokens int) error {
	err := ratelimit.AdmissionFrom(r.Context()).Charge(tokens, "tokens") // more or less than was reserved
	return err
}

func admit(ctx context.Context, limiter ratelimit.Limiter, key string, header http.Header) error {
	a, err := ratelimit.Admit(ctx, ratelimit.Check{Limiter: limiter, Key: key, Cost: 1, FailuresOnly: true})
	if err != nil || !a.Decision().Allowed {
		a.Decision().WriteHeaders(header) // and refuse
	}
	defer a.End()
	ctx = a.Context(ctx)
	return use(ctx)
}

func operateLimits(ctx context.Context, mux *http.ServeMux, guard *loginguard.Guard, api ratelimit.Limiter, authorized func(*http.Request) bool) error {
	limiters, err := operate.Limiters(append(guard.Limiters(), api)...)
	mux.Handle("/ops/limits/", http.StripPrefix("/ops/limits", operate.Handler(authorized, limiters...)))
	err = operate.Command(ctx, os.Args[2:], os.Stdout, limiters...) // list, unlock, block: for limiters on Redis
	return err
}

func guardLogin(mux *http.ServeMux, onRedis func(ratelimit.Policy) (ratelimit.Limiter, error), login http.Handler) error {
	secret, err := loginguard.SecretFile("/var/lib/shop/login.key") // or 32 random bytes from the settings
	guard, err := loginguard.New(secret, &loginguard.Options{Limiter: onRedis})
	mux.Handle("POST /login/", guard.Wrap(login))
	return err
}

func outcome(r *http.Request) {
	a := ratelimit.AdmissionFrom(r.Context())
	a.Succeed() // after the right password: the unit is given back, and the device is known
	a.Pending() // before the second factor: the unit is given back, and the device stays unknown
}

func limitInFlight(mux *http.ServeMux, store *redislimit.Store, user ratelimit.KeyFunc, slow http.Handler) error {
	reports, err := store.Concurrency(concurrency.Policy{Name: "reports", Limit: 2}, nil)
	limit, err := concurrency.NewMiddleware(reports, user, nil) // 429; Status: 503 where all clients share a key
	mux.Handle("/reports/", limit.Wrap(slow))
	return err
}

func leaseUnits(ctx context.Context, store *redislimit.Store) error {
	calls, err := store.Leased(ratelimit.Policy{Name: "calls", Limit: 100_000, Window: time.Minute, Algorithm: ratelimit.Buckets}, nil)
	go calls.Run(ctx) // gives back what is not used, and at the end everything
	return err
}

func checkHealth(ctx context.Context, mux *http.ServeMux, db *sql.DB, rdb redis.UniversalClient, job *backup.Job, token string) error {
	listBackups := func(ctx context.Context) (list []health.Backup, err error) {
		entries, err := job.List(ctx)
		for _, e := range entries {
			if e.State == backup.Good {
				list = append(list, health.Backup{Time: e.Time(), Size: e.Manifest.Size, Verified: e.Verified, Restored: e.Restored()})
			}
		}
		return list, err
	}
	reg, err := health.New([]health.Check{
		health.Database("database", db, nil),
		redischeck.New("cache", rdb, nil),
		hostcheck.Disk("disk", "/var/lib/pos", nil),
		hostcheck.Memory("memory", nil),
		hostcheck.CPU("cpu", nil),
		health.Backups("backups", listBackups, nil),
	}, &health.Options{Authorize: health.BearerToken(token), Service: "pos-1"})
	if err != nil {
		return err // a name twice, a check without a timeout, an unknown group
	}
	go reg.Run(ctx)
	reg.Mount(mux)
	return nil
}

func monitorHealth(ctx context.Context, mux *http.ServeMux, checks []health.Check, mail notify.Notifier, token string) error {
	mon, err := monitor.New(checks, mail, &monitor.Options{
		Health:  health.Options{Service: "pos", Authorize: health.BearerToken(token)},
		History: history.Options{Password: os.Getenv("STATUS_PASSWORD")},
		Folder:  "/var/lib/pos/health",     // alerts, history, the key of the links
		URL:     "https://pos.example.com", // messages link to /uptime/ and /alert/
	})
	if err != nil {
		return err
	}
	mon.Mount(mux)
	return mon.Run(ctx)
}

func keepHistory(ctx context.Context, mux *http.ServeMux, reg *health.Registry) error {
	store, err := history.Files("/var/lib/pos/health") // or history.Redis, history.Database
	past, err := history.New(reg, store, &history.Options{
		Password: os.Getenv("STATUS_PASSWORD"), // a form and a cookie; programs use Authorize
		Public:   []string{"database"},         // state and uptime for everyone, never the output
	})
	go past.Run(ctx)
	past.Mount(mux) // /uptime/, /uptime/json, /uptime/feed, /uptime/badge/database.svg?show=uptime&span=30d
	return err
}

func sendAlerts(ctx context.Context, reg *health.Registry) error {
	mail, err := notify.NewEmailFromURL(os.Getenv("SMTP"), nil)
	if err != nil {
		return err
	}
	alerts, err := alert.New(reg, mail, &alert.Options{
		StatusURL: "https://pos.example.org/status/",
		Store:     alert.File("/var/lib/pos/alerts.json"),
	})
	if err != nil {
		return err
	}
	reg.AddNotices(alerts.Notices) // alerts and silences on the status page
	reg.SetAlerts(alerts.Alerts)   // the open alerts in the JSON of /health/
	go alerts.Run(ctx)
	return nil
}

func routeAlerts(reg *health.Registry, store alert.Store, mail, pagerduty, slack, teams, telegram notify.Notifier, weekdays []time.Weekday) error {
	alerts, err := alert.New(reg, nil, &alert.Options{
		Store: store,
		Receivers: []alert.Receiver{
			{Name: "team", Notifier: mail},
			{Name: "pager", Notifier: pagerduty, MinLevel: notify.Critical},
			{Name: "storage", Notifier: slack, Checks: []string{"disk*", "backups"}},
			{Name: "office", Notifier: teams, Hours: []alert.Window{{Days: weekdays, From: "08:00", To: "18:00"}}},
			{Name: "boss", Notifier: telegram, MinLevel: notify.Critical, After: 30 * time.Minute},
		},
	})
	return errors.Join(err, use(alerts))
}

func maintenance() error {
	options := &alert.Options{Windows: []alert.Window{{Checks: []string{"backups"}, Days: []time.Weekday{time.Sunday}, From: "02:00", To: "04:00"}}}
	return use(options)
}

func sendMail(ctx context.Context) error {
	mail, err := notify.NewEmailFromURL(os.Getenv("SMTP"), nil)
	if err != nil {
		return err
	}
	err = mail.Notify(ctx, notify.Message{
		Level: notify.Critical, Source: "pos", Key: "incident-7", Subject: "database is down", Text: "no answer within 5 s",
	})
	return err
}

func spoolMessages(ctx context.Context, mail, slack notify.Notifier) error {
	all, err := notify.NewMulti([]notify.Notifier{mail, slack}, nil)
	if err != nil {
		return err
	}
	spool, err := notify.NewSpool("/var/lib/pos/spool", all, nil)
	if err != nil {
		return err
	}
	go spool.Run(ctx)
	return nil
}

func backUpNightly(ctx context.Context, db *sql.DB, mail notify.Notifier) error {
	folder, err := backup.NewFolder("/var/backups/shop")
	job, err := backup.New("shop", sqlite.New(db), folder, nil)
	notices, err := backupnotify.New("shop", mail, nil) // mail: notify.NewEmailFromURL, or another channel
	at, err := schedule.ParseDaily("02:00", time.Local)
	nightly, err := schedule.New(at, func(ctx context.Context) error {
		run, err := job.Backup(ctx)
		if failed := notices.Ran(ctx, run, err); failed != nil {
			slog.Error("the notification was not sent", "error", failed)
		}
		return err
	}, &schedule.Options{LastGood: job.LastGood}) // repeats a night that the process missed
	go nightly.Run(ctx)        // returns after ctx has ended and the run is over
	go notices.Watch(ctx, job) // sends a message when the newest good backup is too old
	return err
}

func backUpBoth(database driver.Source, folder backup.Storage) error {
	uploads, err := files.New("/srv/shop/uploads", nil)
	both, err := bundle.New(
		bundle.Part{Name: "database", Source: database}, // first: its rows name the files
		bundle.Part{Name: "uploads", Source: uploads},
	)
	job, err := backup.New("shop", both, folder, nil)
	return errors.Join(err, use(job))
}

func backUpServer(db *sql.DB, folder backup.Storage) error {
	all, err := mysql.NewServer(db, nil)
	job, err := backup.New("all", all, folder, nil)
	return errors.Join(err, use(job))
}

func backUpOthers(db *sql.DB, folder backup.Storage) error {
	others, err := bundle.NewEach(bundle.Options{
		List: func(context.Context) ([]string, error) { return []string{"shop", "stock"}, nil },
		Open: func(name string) (driver.Source, error) { return mysql.New(db, name, nil) },
	})
	job, err := backup.New("others", others, folder, nil)
	return errors.Join(err, use(job))
}

var restoreTests = backup.Options{
	RestoreTest: backup.RestoreTestOptions{Assertions: []backup.Assertion{
		{Name: "every sale has an item", Query: `SELECT COUNT(*) = 0 FROM sales WHERE NOT EXISTS (SELECT 1 FROM sale_items WHERE sale_id = sales.id)`},
	}},
}

func backUpMariaDB(folder backup.Storage) error {
	db, err := sql.Open("mysql", "backup:…@tcp(db.example.org:3306)/?maxAllowedPacket=0") // no database in the address
	source, err := mysql.New(db, "pos", nil)
	job, err := backup.New("pos", source, folder, nil)
	return errors.Join(err, use(job))
}

func backUpPostgres(url string, folder backup.Storage) error {
	db, err := sql.Open("pgx", url) // any driver that takes a URL

	source, err := postgres.New(db, url, nil) // postgres://backup:…@db.example.org/pos?sslmode=verify-full
	job, err := backup.New("pos", source, folder, nil)
	return errors.Join(err, use(job))
}

func pageByNumber(mux *http.ServeMux, source pagination.Lister[Sale]) error {
	numbers, err := pagination.NewPageNumber(pagination.Standard, nil) // 25 rows, at most 100

	mux.HandleFunc("GET /sales", func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, numbers, source)
		if err == nil {
			err = page.Write(w)
		}
		if err != nil {
			pagination.WriteError(w, err)
		}
	})
	return err
}

type feedSale struct {
	ID        int64      `db:"id" page:"sort,unique"`
	CreatedAt time.Time  `db:"created_at" page:"sort"`
	ClosedAt  *time.Time `db:"closed_at" page:"sort"` // a pointer: may be NULL
}

func pageByKeyset(ctx context.Context, r *http.Request, db *sql.DB, secret []byte, product string) error {
	ring, err := keyset.NewKeyRing(keyset.CursorKey{ID: 1, Secret: secret}) // 32 random bytes, the same on every replica
	cursors, err := keyset.NewCursors(ring, nil)
	model, err := keyset.NewModel[Sale]("db", "")
	sales, err := keyset.New("sales", pagination.Standard, cursors, model.Sort, &keyset.Options{Ordering: "-created_at"})

	source := keyset.SQLSource[Sale]{
		DB: db, Dialect: keyset.Postgres, Scan: model.Scan,
		Base: keyset.Base{Columns: model.Columns, From: "sales", Where: "product = ?", Args: []any{product}},
	}
	page, err := sales.Paginate(r, source)

	report, err := sales.Verify(ctx, source, nil)
	return errors.Join(err, use(page, report))
}

func pageForGRPC(ctx context.Context, sales *keyset.Keyset[Sale], source keyset.SQLSource[Sale], req *request) (*keyset.Result[Sale], error) {
	page, err := sales.Page(ctx, source, keyset.Query{
		Size: int(req.PageSize), Token: req.PageToken, Ordering: req.OrderBy, Scope: req.Parent + "?" + req.Filter,
	})
	var fault *pagination.RequestError
	if errors.As(err, &fault) {
		return nil, status.Error(codes.InvalidArgument, fault.Detail)
	}
	return page, err
}

var _ = []any{limitInMemory, limitOnRedis, countFailures, charge, admit, operateLimits, guardLogin, outcome, limitInFlight, leaseUnits, checkHealth, monitorHealth, keepHistory, sendAlerts, routeAlerts, maintenance, sendMail, spoolMessages, backUpNightly, backUpBoth, backUpServer, backUpOthers, restoreTests, backUpMariaDB, backUpPostgres, pageByNumber, pageByKeyset, pageForGRPC, feedSale{}}
