package mysql

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/mainstay-go/mainstay/backup/driver"
)

// serverError has the form of an error of the driver.
type serverError struct {
	Number  uint16
	message string
}

func (e *serverError) Error() string { return e.message }

// TestUntested: an error of a full or ending server accuses no backup. The texts are those of MariaDB 10.11 on a full disk.
func TestUntested(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		err  error
		want bool
	}{
		"a table of rows":     {&serverError{1114, "The table 'many' is full"}, true},
		"a table for a query": {&serverError{126, `Got error '126 "Index is corrupted"' for '#sql-temptable-a7a-1c-69.MAI'`}, true},
		"a table of the shop": {&serverError{126, `Got error '126 "Index is corrupted"' for './shop/t.MAI'`}, false},
		"a syntax error":      {&serverError{1064, "You have an error in your SQL syntax"}, false},
	} {
		assert.Equal(t, c.want, errors.Is(untested(errors.Join(errors.New("assertions"), c.err)), driver.ErrUntested), text)
	}
	assert.NoError(t, untested(nil))
}
