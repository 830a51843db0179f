package redact

import "strings"

// isCause reports whether the text at k, after "token: " or similar words, begins the cause of an
// error and not a secret: a package or an error code that other words explain, or several words
// of prose.
func isCause(text string, k int) bool {
	clause := text[k:min(len(text), k+120)]
	words := strings.Fields(clause[:lineEnd(clause, 0)])
	if len(words) == 0 {
		return false
	}
	first, rest := words[0], words[1:]
	name, isPrefix := strings.CutSuffix(first, ":")
	if isPrefix {
		return (packages[lower(name)] || isErrorName(name)) && prose(rest, 6) || packages[lower(name)] && len(rest) > 0
	}
	if len(rest) > 0 && (len(first) == 3 && isPort(first) || len(first) > 4 && isLetters(first) && isUpper(first) && prose(rest, 4)) {
		return true // a status, or a code such as WRONGPASS
	}
	if len(rest) == 0 || judgement[lower(strings.Trim(rest[0], ".,;:"))] {
		return false
	}
	return isLetters(first) && prose(rest, 4)
}

// judgement are words that follow a secret as often as a word of prose: "hunter was refused".
var judgement = words(`is are was were be has had have do does did will can cannot could not isn't wasn't rejected refused denied wrong invalid failed incorrect
	expired accepted too for on in at with to and or from by as of user host`)

// prose reports whether one of the first n words is a word of error messages or a number.
func prose(list []string, n int) bool {
	for _, w := range list[:min(len(list), n)] {
		if w = lower(strings.Trim(w, `.,;:()"'`)); vocabulary[w] || w != "" && isPort(w) {
			return true
		}
	}
	return false
}

// isErrorName reports whether a word is the name of an error or of a package that reports it:
// ExpiredToken, java.io.IOException, FATAL, pq.
func isErrorName(s string) bool {
	if !isLetters(strings.NewReplacer(".", "", "/", "", "-", "", "_", "").Replace(s)) {
		return false
	}
	return s == lower(s) || isUpper(s) || strings.HasSuffix(s, "Exception") || strings.HasSuffix(s, "Error") || isCamelCase(s[strings.LastIndexByte(s, '.')+1:])
}

func isLetters(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 'A' || c > 'z' || c > 'Z' && c < 'a' {
			return false
		}
	}
	return s != ""
}

// isCamelCase reports whether a word consists of at least two words with capitals. Two capitals
// never stand together, as they do in random letters.
func isCamelCase(s string) bool {
	humps := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			if humps++; i+1 < len(s) && s[i+1] >= 'A' && s[i+1] <= 'Z' {
				return false
			}
		}
	}
	return humps > 1 && isLetters(s)
}
