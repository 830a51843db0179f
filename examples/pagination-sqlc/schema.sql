CREATE TABLE sales (
	id         INTEGER PRIMARY KEY,
	product    TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	closed_at  INTEGER -- NULL while the sale is open
);

CREATE INDEX sales_created ON sales (created_at, id);
CREATE INDEX sales_closed ON sales (closed_at, id);
