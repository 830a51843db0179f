// Package querycount counts the SQL statements that run under a context, through
// database/sql and so under any library that builds on it. It finds the list that runs
// one query for each of its rows.
//
//   - [Open] and [Wrap] put a counting driver under a *sql.DB.
//   - [With] begins a count; [Counter.Total] reads it.
//   - [Budget] fails a test that runs more statements than it may.
//   - [Middleware] writes X-Query-Count and logs requests that look like N+1.
//
// A statement is counted when it reaches the server: once, also where a driver first
// declines a query with arguments (driver.ErrSkip) and database/sql then prepares it.
// Preparing, pinging and the borders of transactions are not counted. Statements that
// were run without a context that carries a counter cost one context look-up.
package querycount
