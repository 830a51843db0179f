-- name: SalesByNumber :many
SELECT * FROM sales
WHERE sqlc.arg(product) = '' OR product = sqlc.arg(product)
ORDER BY created_at DESC, id DESC
LIMIT sqlc.arg(page_size) OFFSET sqlc.arg(skipped);

-- name: CountSales :one
SELECT COUNT(*) FROM sales
WHERE sqlc.arg(product) = '' OR product = sqlc.arg(product);

-- name: CreateSale :exec
INSERT INTO sales (id, product, created_at, closed_at) VALUES (?, ?, ?, ?);
