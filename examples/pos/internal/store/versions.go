package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// Versions are counters that each change increases in its own transaction. A cached value is
// stored under the versions at which it was loaded. So it is never served after a change of its
// data, even if the cache or the server that made the change fails.
type Versions map[string]version

// version is the newest of the slots of a counter and their sum. Each change increases the sum.
// The newest is a time of the database, so a change after a restore exceeds all from before it.
// The sum alone could occur again: it is a sum of times.
type version struct{ newest, sum int64 }

func (v version) String() string {
	return strconv.FormatInt(v.newest, 10) + "-" + strconv.FormatInt(v.sum, 10)
}

// Versions reads all versions.
func (s *Store) Versions(ctx context.Context) (Versions, error) {
	v := Versions{}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var name string
		var n version
		err := rows.Scan(&name, &n.newest, &n.sum)
		v.add(name, n)
		return err
	}, "SELECT name, max(version), sum(version) FROM versions GROUP BY name UNION ALL SELECT '"+clock+"', "+now(s.engine)+", 0")
	return v, err
}

// add adds the version of one name. The stock of category 0 is that of all categories.
func (v Versions) add(name string, n version) {
	v[name] = n
	if strings.HasPrefix(name, "category/") {
		all := v[CategoryVersion(0)]
		v[CategoryVersion(0)] = version{max(all.newest, n.newest), all.sum + n.sum}
	}
}

// clock is the name under which the query returns the database's time.
const clock = "now"

// Now is the database's time when the versions were read.
func (v Versions) Now() time.Time { return fromMicros(v[clock].newest) }

// CategoryVersion names the version of a category's stock.
func CategoryVersion(id int64) string { return "category/" + strconv.FormatInt(id, 10) }

// Stock identifies the stock of a category at its version, or of all categories if category is
// 0.
func (v Versions) Stock(category int64) string {
	return v[CatalogueVersion].String() + "." + v[CategoryVersion(category)].String()
}

// Money identifies all sales and top-ups at their version.
func (v Versions) Money() string {
	return v[CatalogueVersion].String() + "." + v[MoneyVersion].String()
}
