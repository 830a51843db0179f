package store

import (
	"context"
	"strings"
	"time"

	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Audit is one line of the audit log, with the user and the action. Sales have records of their
// own.
type Audit struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	User      string    `json:"user"`
	Action    string    `json:"action"`
	Subject   string    `json:"subject"`
	Detail    string    `json:"detail"`
}

// audit adds a line to the transaction of the change that it records.
func (t *Tx) audit(ctx context.Context, user, action, subject, detail string) error {
	b := &batch{}
	t.record(b, user, action, subject, detail)
	return t.run(ctx, b)
}

// record adds the audit line to a batch.
func (t *Tx) record(b *batch, user, action, subject, detail string) {
	b.add("INSERT INTO audit (created_at, username, action, subject, detail) VALUES ("+now(t.engine)+", ?, ?, ?, ?)",
		user, action, cut(subject, 190), cut(detail, 1000))
}

// Note writes a line about an action that changes no record, such as a download.
func (s *Store) Note(ctx context.Context, user, action, subject, detail string) error {
	return s.inTx(ctx, func(tx *Tx) error { return tx.audit(ctx, user, action, subject, detail) })
}

// cut shortens a text to a number of characters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// AuditColumns returns the columns that can sort the audit log.
func AuditColumns() []keyset.Column[Audit] {
	return []keyset.Column[Audit]{
		{Name: "id", Expr: "a.id", Unique: true},
	}
}

// AuditLog returns the list of the audit lines.
func (s *Store) AuditLog(order keyset.Order) keyset.SQLSource[Audit] {
	return keyset.SQLSource[Audit]{
		DB: s.read, Dialect: s.dialect, Order: order, CountFrom: "audit a",
		Base: keyset.Base{Columns: []string{"a.id", "a.created_at", "a.username", "a.action", "a.subject", "a.detail"}, From: "audit a"},
		Scan: func(rows keyset.Scanner) (Audit, error) {
			var a Audit
			var created int64
			err := rows.Scan(&a.ID, &created, &a.User, &a.Action, &a.Subject, &a.Detail)
			a.CreatedAt = fromMicros(created)
			return a, err
		},
	}
}
