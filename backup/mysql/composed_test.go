package mysql

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestComposed: one literal can be read, all else cannot. Words of other meanings are no sign.
func TestComposed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"CREATE PROCEDURE p() BEGIN SET @q = CONCAT('sh', 'op.t'); PREPARE s FROM @q; EXECUTE s; END":    true,
		"CREATE PROCEDURE p(q TEXT) EXECUTE IMMEDIATE q":                                                 true,
		"CREATE PROCEDURE p() EXECUTE /* now */ IMMEDIATE CONCAT('sh', 'op.t')":                          true,
		"CREATE PROCEDURE p() EXECUTE IMMEDIATE 'DELETE FROM sh' || 'op.t'":                              true,
		"CREATE PROCEDURE p() prepare `s` from @q":                                                       true,
		"CREATE PROCEDURE p() EXECUTE IMMEDIATE 'DELETE FROM t WHERE id = ?' USING 1":                    false,
		"CREATE PROCEDURE p() PREPARE s FROM 'SELECT 1'":                                                 false,
		"CREATE PROCEDURE p() PREPARE s FROM \"SELECT 1\"":                                               false,
		"CREATE PROCEDURE p() SELECT 'PREPARE s FROM @q' /* EXECUTE IMMEDIATE q */ -- PREPARE s FROM @q": false,
		"CREATE PROCEDURE p() SELECT prepare FROM t":                                                     false,
		"CREATE PROCEDURE p() SELECT `EXECUTE`, immediate FROM t":                                        false,
		"CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = CONCAT('sh', 'op')":                false,
	} {
		assert.Equal(t, want, composed([]byte(text), ""), text)
	}
	assert.True(t, composed([]byte(`CREATE PROCEDURE p() EXECUTE IMMEDIATE "q"`), "ANSI_QUOTES"), "the name of a variable")
}
