package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// Assertion is a condition that a restored database must meet.
type Assertion struct {
	// Name describes the assertion in reports: "every sale has a line".
	Name string
	// Query returns one row of one value, which must be true or a number other than 0.
	Query string
	// Check replaces Query, if it is set. Its error is the reason for the failure. The
	// error is stored beside the backup, so it must contain no secret.
	Check func(ctx context.Context, db driver.Queryer) error
}

// AssertionResult is the outcome of an [Assertion].
type AssertionResult struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
}

// holds returns the reason why an assertion does not hold, or nil.
func (a *Assertion) holds(ctx context.Context, db driver.Queryer) error {
	if a.Check != nil {
		return a.Check(ctx, db)
	}
	rows, err := db.QueryContext(ctx, a.Query)
	if err != nil {
		return fmt.Errorf("its query failed: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return fmt.Errorf("its query failed: %w", err)
		}
		return errors.New("its query returned no row")
	}
	var value any
	if err := rows.Scan(&value); err != nil {
		return fmt.Errorf("its query must return a single value: %w", err)
	}
	if rows.Next() {
		return errors.New("its query returned more than one row")
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("its query failed: %w", err)
	}
	if b, ok := value.([]byte); ok {
		value = string(b)
	}
	switch v := value.(type) {
	case bool:
		if v {
			return nil
		}
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil && n != 0 || v == "t" || v == "true" {
			return nil
		}
	case int64:
		if v != 0 {
			return nil
		}
	case float64:
		if v != 0 {
			return nil
		}
	default:
		return fmt.Errorf("its query returned neither a truth value nor a number but %T", value)
	}
	return fmt.Errorf("its query returned %v", value)
}
