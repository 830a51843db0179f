package main

// tables are the tables of README.md and RESULTS.md, in their order.
var tables = []table{
	{
		Name: "ratelimit-admitted", Title: "Limits: the most that a client gets of 100 in any one window", Package: "ratelimit", Quick: true,
		Benchtime: "1x",
		Rows: []row{
			{Label: "Mainstay, exact", Ours: "BenchmarkMostAdmitted/100", Unit: "mainstay-Exact-most", Shown: "of 100", Bound: 100},
			{Label: "sethvargo/go-limiter", Ours: "BenchmarkMostAdmitted/100", Unit: "sethvargo-most", Shown: "of 100"},
			{Label: "ulule/limiter", Ours: "BenchmarkMostAdmitted/100", Unit: "ulule-most", Shown: "of 100"},
			{Label: "throttled", Ours: "BenchmarkMostAdmitted/100", Unit: "throttled-most", Shown: "of 100"},
			{Label: "go-chi/httprate", Ours: "BenchmarkMostAdmitted/100", Unit: "httprate-most", Shown: "of 100"},
		},
	},
	{
		Name: "ratelimit-memory", Title: "Limits in memory: time", Package: "ratelimit", Quick: true,
		Rows: []row{
			{Label: "one key, denied", Ours: "BenchmarkHotKeyDenied/mainstay_Exact", Peer: "BenchmarkHotKeyDenied/sethvargo", PeerIs: "sethvargo/go-limiter", Bound: 0.9},
			{Label: "one key, allowed", Ours: "BenchmarkHotKeyAllowed/mainstay_Buckets", Peer: "BenchmarkHotKeyAllowed/sethvargo", PeerIs: "sethvargo/go-limiter", Bound: 0.9},
			{Label: "HTTP middleware, allowed", Ours: "BenchmarkMiddlewareAllowed/mainstay_Exact", Peer: "BenchmarkMiddlewareAllowed/sethvargo", PeerIs: "sethvargo/go-limiter"},
			{Label: "HTTP middleware, allowed", Ours: "BenchmarkMiddlewareAllowed/mainstay_Exact", Peer: "BenchmarkMiddlewareAllowed/httprate", PeerIs: "go-chi/httprate"},
		},
	},
	{
		Name: "ratelimit-redis", Title: "Limits on Redis: time of an exact decision, distinct keys", Package: "ratelimit", Quick: true,
		Rows: []row{
			{Label: "128 goroutines", Ours: "BenchmarkRedisLoad/128/mainstay_Exact", Peer: "BenchmarkRedisLoad/128/redis_rate", PeerIs: "redis_rate", Bound: 0.5},
			{Label: "one goroutine", Ours: "BenchmarkRedisLoad/1/mainstay_Exact", Peer: "BenchmarkRedisLoad/1/redis_rate", PeerIs: "redis_rate", Bound: 1.1},
		},
	},
	{
		Name: "cache-local", Title: "Cache: a hit in memory through GetOrLoad, parallel", Package: "cache", Quick: true,
		Rows: []row{
			{Label: "time", Ours: "BenchmarkLocalHit/mainstay_GetOrLoad", Peer: "BenchmarkLocalHit/otter_Get", PeerIs: "otter `Get`", Bound: 1.5},
			{Label: "time", Ours: "BenchmarkLocalHit/mainstay_GetOrLoad", Peer: "BenchmarkLocalHit/ristretto_Get", PeerIs: "ristretto `Get`"},
			{Label: "time", Ours: "BenchmarkLocalHit/mainstay_GetOrLoad", Peer: "BenchmarkLocalHit/theine_Get", PeerIs: "theine `Get`"},
			{Label: "time", Ours: "BenchmarkLocalHit/mainstay_GetOrLoad", Peer: "BenchmarkLocalHit/sturdyc_GetOrFetch", PeerIs: "sturdyc `GetOrFetch`"},
			{Label: "allocations", Ours: "BenchmarkLocalHit/mainstay_GetOrLoad", Unit: "allocs/op", Shown: "a hit"},
		},
	},
	{
		Name: "cache-redis", Title: "Cache: a hit in Redis, values of 1 KiB", Package: "cache", Quick: true,
		Rows: []row{
			{Label: "one goroutine", Ours: "BenchmarkRedisHit/mainstay_GetOrLoad", Peer: "BenchmarkRedisHit/go-redis_msgpack", PeerIs: "go-redis and msgpack", Bound: 1.05},
			{Label: "128 goroutines, distinct keys", Ours: "BenchmarkRedisHitsParallel/128/mainstay_Get", Peer: "BenchmarkRedisHitsParallel/128/rueidis_msgpack", PeerIs: "rueidis and msgpack", Bound: 1},
			{Label: "512 goroutines, distinct keys", Ours: "BenchmarkRedisHitsParallel/512/mainstay_Get", Peer: "BenchmarkRedisHitsParallel/512/rueidis_msgpack", PeerIs: "rueidis and msgpack", Bound: 1},
			{Label: "512 goroutines, distinct keys", Ours: "BenchmarkRedisHitsParallel/512/mainstay_Get", Peer: "BenchmarkRedisHitsParallel/512/go-redis_msgpack", PeerIs: "go-redis and msgpack"},
			{Label: "Delete of 2,000 keys", Ours: "BenchmarkDeleteMany/mainstay_Delete", Peer: "BenchmarkDeleteMany/mainstay_store", PeerIs: "the store's own delete", Bound: 1.3},
		},
	},
	{
		Name: "cache-processes", Title: "Cache: two processes", Package: "cache", Quick: true,
		Rows: []row{
			{Label: "loads when 1,000 readers in two processes miss one key", Ours: "BenchmarkColdKey/mainstay_GetOrLoad", Unit: "loads/op", Shown: "loads", Bound: 1},
			{Label: "the same, go-redis/cache", Ours: "BenchmarkColdKey/go-redis_cache_Once", Unit: "loads/op", Shown: "loads"},
			{Label: "time until a delete of another process is seen, 99th percentile", Ours: "BenchmarkForeignDelete", Unit: "p99-µs", Shown: "µs"},
		},
	},
	{
		Name: "health", Title: "Health: one request, ten healthy checks", Package: "health", Quick: true,
		Rows: []row{
			{Label: "time", Ours: "BenchmarkHandler/serial/mainstay", Peer: "BenchmarkHandler/serial/alexliesenfeld-cached", PeerIs: "alexliesenfeld/health", Bound: 0.1},
			{Label: "time", Ours: "BenchmarkHandler/serial/mainstay", Peer: "BenchmarkHandler/serial/hellofresh", PeerIs: "hellofresh/health-go, which runs the checks", Bound: 0.1},
			{Label: "time", Ours: "BenchmarkHandler/serial/mainstay", Shown: "ns", Bound: 200},
			{Label: "allocations", Ours: "BenchmarkHandler/serial/mainstay", Unit: "allocs/op", Shown: "a request"},
		},
	},
	{
		Name: "backup-mariadb", Title: "Backup: a MariaDB dump of 250 MB", Package: "backup", Env: []string{"MAINSTAY_BENCH_MB=250"},
		Benchtime: "1x",
		Rows: []row{
			{Label: "time, `zstd` (the default)", Ours: "BenchmarkMariaDB/zstd/verify=false", Unit: "x-bare-wall", PeerIs: "`mariadb-dump` to `/dev/null`", Bound: 2.2},
			{Label: "time, `zstd`", Ours: "BenchmarkMariaDB/zstd/verify=false", Unit: "x-gzip-wall", PeerIs: "`mariadb-dump \\| gzip -6`", Bound: 0.6},
			{Label: "time with the backup read back", Ours: "BenchmarkMariaDB/zstd/verify=true", Unit: "x-gzip-wall", PeerIs: "`mariadb-dump \\| gzip -6`"},
			{Label: "size, `zstd`", Ours: "BenchmarkMariaDB/zstd/verify=false", Unit: "x-gzip-size", PeerIs: "`mariadb-dump \\| gzip -6`", Bound: 1.05},
			{Label: "restore with its proof", Ours: "BenchmarkMariaDBRestore", Unit: "x-mariadb-wall", PeerIs: "`mariadb < dump`", Bound: 1.3},
			{Label: "one table of 1 % of the rows", Ours: "BenchmarkMariaDBRestore", Unit: "x-whole-for-one-table", PeerIs: "the whole restore", Bound: 0.3},
		},
	},
	{
		Name: "backup-postgres", Title: "Backup: a PostgreSQL database of 100 MB", Package: "backup", Env: []string{"MAINSTAY_BENCH_MB=100"},
		Benchtime: "1x",
		Rows: []row{
			{Label: "time, `zstd` (the default)", Ours: "BenchmarkPostgres/zstd/verify=false", Unit: "x-pg_dump-wall", PeerIs: "`pg_dump -Fc`"},
			{Label: "time with the backup read back", Ours: "BenchmarkPostgres/zstd/verify=true", Unit: "x-pg_dump-wall", PeerIs: "`pg_dump -Fc`"},
			{Label: "size, `zstd`", Ours: "BenchmarkPostgres/zstd/verify=false", Unit: "x-pg_dump-size", PeerIs: "`pg_dump -Fc`", Bound: 1.1},
		},
	},
	{
		Name: "pagination", Title: "Pages: time", Package: "pagination", Quick: true,
		Rows: []row{
			{Label: "page and size from a request", Ours: "BenchmarkParse/mainstay", Peer: "BenchmarkParse/net-url", PeerIs: "`url.Query`", Bound: 0.3},
			{Label: "signed cursor, written and read", Ours: "BenchmarkCursor/mainstay-signed", Peer: "BenchmarkCursor/pilagod", PeerIs: "pilagod, unsigned", Bound: 0.5},
			{Label: "page of 25 by keyset, SQLite", Ours: "BenchmarkPage/keyset", Unit: "package/hand", PeerIs: "its bare statement", Bound: 1.05},
			{Label: "the same, PostgreSQL", Ours: "BenchmarkPageServer/postgres", Unit: "package/hand", PeerIs: "its bare statement", Bound: 1.05},
			{Label: "the same, MariaDB", Ours: "BenchmarkPageServer/mariadb", Unit: "package/hand", PeerIs: "its bare statement", Bound: 1.05},
		},
	},
}
