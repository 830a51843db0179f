package mysql

import (
	"strings"

	"github.com/mainstay-go/mainstay/backup/internal/server"
)

// composed reports whether a definition runs a statement whose text it puts together or reads:
// PREPARE … FROM or EXECUTE IMMEDIATE with anything except one literal. Such a statement may
// name the original database in a way that no reader of the definition finds.
func composed(text []byte, mode string) bool {
	r := newRewriter(text, mode)
	before, two := "", "" // the last two keywords
	for i := 0; i < len(text); {
		if j := r.blank(i); j > i {
			i = j
			continue
		}
		if c := text[i]; c == '\'' || c == '"' && !r.ansi {
			i, before, two = r.literal(i), "'", ""
			continue
		}
		name, end, quoted := r.word(i)
		if end == i {
			i, before, two = i+1, "", ""
			continue
		}
		word := strings.ToUpper(name)
		if quoted {
			word = "w"
		}
		if two == "PREPARE" && word == "FROM" || before == "EXECUTE" && word == "IMMEDIATE" {
			at := r.blank(end)
			if at >= len(text) || text[at] != '\'' && (text[at] != '"' || r.ansi) {
				return true
			}
			if after := r.blank(r.literal(at)); after < len(text) && text[after] == '|' {
				return true
			}
		}
		two, before, i = before, word, end
	}
	return false
}

// composedWarning names the definitions that a restore under another name cannot judge.
func (r *restoring) composedWarning() []string {
	if len(r.composed) == 0 || r.strict || r.target == r.m.database {
		return nil
	}
	return []string{"the statements that these put together (PREPARE, EXECUTE IMMEDIATE) may still name the database " + r.m.database + ": read them before they run: " + server.ShortList(r.composed)}
}
