// Package querycount counts the SQL statements that run under a context, through
// database/sql and through any library on top of it. It finds a list that runs one query
// for each of its rows.
//
//   - [Open] and [Wrap] put a counting driver under a *sql.DB.
//   - [With] begins a count; [Counter.Total] reads it.
//   - [Budget] fails a test that runs too many statements.
//   - [Middleware] writes X-Query-Count and logs requests that look like N+1.
//
// A statement is counted once, when it reaches the server. This is also true if a driver
// first declines a query with arguments (driver.ErrSkip) and database/sql then prepares it.
// Preparing, pinging and the borders of transactions are not counted. A statement without a
// counter in its context costs one context look-up.
package querycount
