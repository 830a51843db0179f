package history

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/internal/atomicfile"
)

// Files returns a Store in a folder. It creates the folder if necessary. Instances on
// one host may share it.
func Files(dir string) (Store, error) {
	if dir == "" {
		return nil, errors.New("history: name the folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return files(dir), nil
}

type files string

// path is the file of a key. The key is escaped, so that the file stays in the folder.
func (f files) path(key string) string { return filepath.Join(string(f), url.PathEscape(key)+".json") }

func (f files) Load(_ context.Context, prefix string) (map[string][]byte, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	found := map[string][]byte{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		key, err := url.PathUnescape(name)
		if !ok || err != nil || !strings.HasPrefix(key, prefix) || !e.Type().IsRegular() {
			continue
		}
		document, err := os.ReadFile(f.path(key))
		if errors.Is(err, fs.ErrNotExist) {
			continue // another instance has deleted it since the listing
		}
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		found[key] = document
	}
	return found, nil
}

func (f files) Save(_ context.Context, key string, document []byte) error {
	if len(document) == 0 {
		if err := os.Remove(f.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("history: %w", err)
		}
		return nil
	}
	err := atomicfile.Write(f.path(key), 0o600, func(w io.Writer) error {
		_, err := w.Write(document)
		return err
	})
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Redis returns a Store in one hash of a Redis server, which all instances of a
// service share. Name the hash after the service, such as "pos:health".
func Redis(client redis.UniversalClient, hash string) (Store, error) {
	if client == nil || hash == "" {
		return nil, errors.New("history: Redis needs a client and the name of a hash")
	}
	return &redisStore{client, hash}, nil
}

type redisStore struct {
	client redis.UniversalClient
	hash   string
}

func (r *redisStore) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	found := map[string][]byte{}
	var cursor uint64
	match := strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(prefix) + "*"
	for {
		pairs, next, err := r.client.HScan(ctx, r.hash, cursor, match, 100).Result()
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			found[pairs[i]] = []byte(pairs[i+1])
		}
		if cursor = next; cursor == 0 {
			return found, nil
		}
	}
}

func (r *redisStore) Save(ctx context.Context, key string, document []byte) (err error) {
	if len(document) == 0 {
		err = r.client.HDel(ctx, r.hash, key).Err()
	} else {
		err = r.client.HSet(ctx, r.hash, key, document).Err()
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Dialect is the SQL dialect of a database.
type Dialect string

// The dialects of [Database].
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
	SQLite   Dialect = "sqlite"
)

// Database returns a Store in a table of a database, which all instances of a service
// share. Create the table in a migration, with names that differ in every byte:
//
//	CREATE TABLE health_history (name VARCHAR(255) COLLATE "C" PRIMARY KEY, document TEXT NOT NULL)      -- PostgreSQL
//	CREATE TABLE health_history (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
//	    document MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL)                                             -- MySQL, MariaDB
//	CREATE TABLE health_history (name VARCHAR(255) PRIMARY KEY, document TEXT NOT NULL)                  -- SQLite
//
// The first Load or Save writes two documents, reads them back and deletes them. It
// returns an error if the table does not keep them, and the next call tries again.
func Database(db *sql.DB, dialect Dialect, table string) (Store, error) {
	if db == nil {
		return nil, errors.New("history: the *sql.DB is nil")
	}
	for _, c := range table {
		if c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return nil, fmt.Errorf("history: table %q: use letters, digits, dots and underscores only", table)
		}
	}
	s := &database{
		db:     db,
		upsert: "INSERT INTO " + table + " (name, document) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document",
		remove: "DELETE FROM " + table + " WHERE name = ?",
		// LIKE compares characters. It does not depend on the order of the collation.
		list: "SELECT name, document FROM " + table + " WHERE name LIKE ? ESCAPE '!'",
	}
	switch dialect {
	case SQLite:
		s.repair = "Create it again with name VARCHAR(255) PRIMARY KEY and document TEXT NOT NULL"
	case Postgres:
		s.upsert = strings.Replace(s.upsert, "?, ?", "$1, $2", 1)
		s.remove = strings.Replace(s.remove, "?", "$1", 1)
		s.list = strings.Replace(s.list, "?", "$1", 1)
		s.repair = "Run: ALTER TABLE " + table + ` ALTER COLUMN name TYPE VARCHAR(255) COLLATE "C", ALTER COLUMN document TYPE TEXT`
	case MySQL:
		s.upsert = "INSERT INTO " + table + " (name, document) VALUES (?, ?) ON DUPLICATE KEY UPDATE document = VALUES(document)"
		s.repair = "Run: ALTER TABLE " + table + " MODIFY name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, MODIFY document MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL"
	default:
		return nil, fmt.Errorf("history: dialect %q: use Postgres, MySQL or SQLite", dialect)
	}
	if table == "" {
		return nil, errors.New("history: name the table")
	}
	return s, nil
}

type database struct {
	db                           *sql.DB
	upsert, remove, list, repair string
	checking                     sync.Mutex
	checked                      bool
}

func (d *database) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	return d.load(ctx, prefix)
}

func (d *database) Save(ctx context.Context, key string, document []byte) error {
	if err := d.check(ctx); err != nil {
		return err
	}
	return d.save(ctx, key, document)
}

// check verifies that the table keeps documents as they are, until it has succeeded once.
// The names of the two documents differ in the case of a letter, and are as long as the
// column must allow. The documents are longer than a TEXT of MySQL.
func (d *database) check(ctx context.Context) error {
	d.checking.Lock()
	defer d.checking.Unlock()
	if d.checked {
		return nil
	}
	prefix := "probe/" + rand.Text() + "/"
	long := strings.Repeat("a", 254-len(prefix))
	want := map[string][]byte{}
	var err error
	for _, last := range []string{"a", "A"} {
		want[prefix+long+last] = []byte(strings.Repeat(last, 70<<10) + "ä🩺")
	}
	for key, document := range want {
		err = errors.Join(err, d.save(ctx, key, document))
	}
	found, loadErr := d.load(ctx, prefix)
	err = errors.Join(err, loadErr)
	for key := range want {
		err = errors.Join(err, d.save(ctx, key, nil))
	}
	if err == nil && !maps.EqualFunc(found, want, bytes.Equal) {
		err = errors.New("history: two test documents were not read back as they were written")
	}
	if err != nil {
		return fmt.Errorf("%w\nIf the database works, the table is not as documented. %s", err, d.repair)
	}
	d.checked = true
	return nil
}

func (d *database) load(ctx context.Context, prefix string) (map[string][]byte, error) {
	rows, err := d.db.QueryContext(ctx, d.list, strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(prefix)+"%")
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer rows.Close()
	found := map[string][]byte{}
	for rows.Next() {
		var key, document string
		if err := rows.Scan(&key, &document); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if strings.HasPrefix(key, prefix) { // LIKE ignores case on SQLite
			found[key] = []byte(document)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return found, nil
}

func (d *database) save(ctx context.Context, key string, document []byte) (err error) {
	if len(document) == 0 {
		_, err = d.db.ExecContext(ctx, d.remove, key)
	} else {
		_, err = d.db.ExecContext(ctx, d.upsert, key, string(document))
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}
