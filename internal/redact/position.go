package redact

import "strings"

// protocolValue returns the argument of AUTH, PASS and LOGIN in the form of protocols.
func protocolValue(text string, i, j int, word string, work *effort) (span, bool) {
	if j >= len(text) || text[j] != ' ' || !isUpper(text[i:j]) && word != "requirepass" && word != "masterauth" {
		return span{}, false
	}
	from := j + 1
	end := from + len(work.line(text, from))
	args := strings.Fields(text[from:end])
	for len(args) > 1 && harmless(args[len(args)-1]) && !looksSecret(args[len(args)-1]) {
		args = args[:len(args)-1] // "AUTH x rejected"
	}
	if len(args) > 0 && (strings.HasSuffix(args[0], ":") || args[0] == "type" || args[0] == "mechanism") { // AUTH failed: …
		return span{}, false
	}
	if len(args) > 3 && looksSecret(args[0]) && !harmless(args[0]) { // an option of a longer command
		args = args[:1]
	}
	if len(args) == 0 || len(args) > 3 || harmless(args[0]) && (len(args) == 1 || harmless(args[1])) || separator(args[0]) > 0 {
		return span{}, false
	}
	last := args[len(args)-1]
	if len(args) > 1 && !looksSecret(last) && harmless(last) {
		return span{}, false
	}
	if len(args) == 3 && !looksSecret(args[1]) && !looksSecret(last) {
		return span{}, false
	}
	return span{from, trimEnd(text, from, from+len(args[0])+max(0, strings.LastIndex(text[from:end], last)+len(last)-len(args[0])))}, true
}

// positionalValue returns a secret that has its place in a list without a key.
func positionalValue(text, low, word string, i, j int, work *effort) (span, bool) {
	switch word {
	case "setuser", "user": // ACL SETUSER name on >password
		line := work.line(text, j)
		from := strings.Index(line, " >")
		if from < 0 || word == "user" && !strings.Contains(line, " on ") {
			return span{}, false
		}
		from += j + 2
		return span{from, wordRun(text, from)}, true
	case "auth-pass": // sentinel auth-pass master password
		args := strings.Fields(work.line(text, j))
		if len(args) < 2 || !strings.HasPrefix(text[j:], " ") || harmless(args[0]) {
			return span{}, false
		}
		from := j + strings.Index(text[j:], " "+args[1]) + 1
		return span{from, wordRun(text, from)}, true
	case "login": // vault login token
		if !strings.HasSuffix(low[:i], "vault ") && !strings.HasSuffix(low[:i], "cargo ") {
			return span{}, false
		}
		end := trimEnd(text, j, wordRun(text, min(j+1, len(text))))
		return span{j + 1, end}, j+1 < end && text[j+1] != '-' && !harmless(text[j+1:end])
	case "p": // a form: u=…&p=…
		if i == 0 || text[i-1] != '&' || j >= len(text) || text[j] != '=' {
			return span{}, false
		}
		return valueAt(text, j+1, false, false)
	case "use": // net use drive share password
		if !strings.HasSuffix(low[:i], "net ") {
			return span{}, false
		}
		args := strings.Fields(work.line(text, j))
		for n := 0; n+1 < len(args); n++ {
			if value := args[n+1]; (strings.HasPrefix(args[n], `\\`) || strings.HasPrefix(args[n], "//")) && value[0] != '/' && value != "*" {
				from := j + strings.Index(text[j:], " "+value) + 1
				return span{from, wordRun(text, from)}, true
			}
		}
		return span{}, false
	case "echo", "printf":
		return pipedValue(text, low, j, work)
	case "lookup":
		return lookedUp(text, j)
	case "convertto-securestring":
		return quotedOrRandom(text, j)
	case "args": // the arguments of a command AUTH, as ioredis shows them
		if !strings.HasPrefix(text[j:], ": [") || !strings.Contains(low, "'auth'") && !strings.Contains(low, "err auth") && !strings.Contains(low, "wrongpass") {
			return span{}, false
		}
		return span{j + 3, closing(text, j+3, ']')}, true
	case "sqlplus": // sqlplus user/password@database
		line := work.line(text, j)
		at := strings.IndexByte(line, '@')
		slash := strings.IndexByte(line, '/')
		return span{j + slash + 1, j + at}, slash >= 0 && slash+1 < at
	case "sec-websocket-protocol":
		comma := strings.IndexByte(text[j:lineEnd(text, j)], ',')
		return span{j + comma + 1, lineEnd(text, j)}, comma >= 0
	case "in": // could not log in as user:password
		if !strings.HasPrefix(low[j:], " as ") || !strings.HasSuffix(low[:i], "log ") && !strings.HasSuffix(low[:i], "sign ") {
			return span{}, false
		}
		end := trimEnd(text, j+4, wordRun(text, j+4))
		colon := strings.IndexByte(text[j+4:end], ':')
		return span{j + 4 + colon + 1, end}, colon > 0 && j+4+colon+1 < end
	case "params": // params={{user password service …}} of godror
		if !strings.HasPrefix(low[j:], "={{") {
			return span{}, false
		}
		from := wordRun(text, j) + 1
		end := wordRun(text, min(from, len(text)))
		return span{from, end}, from < end
	}
	return span{}, false
}

// argument returns the quoted value after a quoted key in a list of arguments, such as
// setenv("TOKEN", "…"). A constant in capitals is the name of a variable, and any text is its
// value.
func argument(text string, k int, constant bool) (span, bool) {
	k++ // the comma
	for k < len(text) && isSpace(text[k]) {
		k++
	}
	if k >= len(text) || strings.IndexByte("\"'`", text[k]) < 0 {
		return span{}, false
	}
	s, ok := valueAt(text, k, true, false)
	value := text[s.from:s.to]
	return s, ok && (constant || looksSecret(value) || len(value) >= 12 && strings.Trim(value, "0123456789") == "")
}

// spokenValue returns a bare value after a key that a word before marks as a setting or a login:
// ENV DB_PASSWORD …, user pos password …, with password ….
func spokenValue(text, low string, i, k int, key string) (span, bool) {
	end := trimEnd(text, k, wordRun(text, k))
	value := text[k:end]
	if len(value) < 4 || harmless(value) || value[0] == '-' || strings.HasPrefix(value, "/") || objectWords[key] && key != "token" {
		return span{}, false
	}
	before := strings.Fields(low[max(0, i-60):i])
	if len(before) == 0 {
		return span{}, false
	}
	last := before[len(before)-1]
	setting := settings[last] || len(before) > 1 && settings[before[len(before)-2]]
	name := text[i : i+len(key)]
	compound := strings.ContainsAny(key, "_-.") || name != key
	login := len(before) > 1 && users[before[len(before)-2]] || len(before) > 2 && users[before[len(before)-3]]
	return span{k, end}, setting && compound || (login || last == "with") && !objectWords[key]
}

var (
	settings = words(`env arg set put setenv setx passenv export fastcgi_param uwsgi_param scgi_param proxy_set_header add_header config`)
	users    = words(`user username login usuario benutzer utilisateur usuário utente gebruiker`)
)

// quotedOrRandom returns a quoted value, or a bare one that is no word.
func quotedOrRandom(text string, j int) (span, bool) {
	k := j
	for k < len(text) && isSpace(text[k]) {
		k++
	}
	if strings.HasPrefix(lower(text[k:min(len(text), k+9)]), "password ") {
		k += 9
	}
	return valueAt(text, k, false, false)
}

// nextElement returns the text of the next XML element when the key is a name in XML: the value
// of <key>Password</key><string>…</string> and <setting name="Password"><value>…</value>.
func nextElement(text string, i, k int) (span, bool) {
	near := text[max(0, i-1<<10):i]
	open := strings.LastIndexAny(near, "<>")
	if open < 0 || near[open] == '>' && !strings.HasPrefix(text[k:], "</") {
		return span{}, false
	}
	for n := 0; n < 4; n++ {
		end := strings.IndexByte(text[k:], '>')
		if end < 0 || end > 120 || text[k+max(end-1, 0)] == '/' || strings.Contains(text[k:k+end], "value=") {
			return span{}, false
		}
		k += end + 1
		from := k
		for from < len(text) && isSpace(text[from]) {
			from++
		}
		if from < len(text) && text[from] != '<' {
			to := len(text)
			if end := strings.IndexByte(text[from:], '<'); end >= 0 {
				to = from + end
			}
			return span{from, to}, true
		}
		k = from
	}
	return span{}, false
}

// namedValue finds the value of name="password" value="…" and similar forms.
func namedValue(low string) int {
	trimmed := strings.TrimLeft(low, " \n\t,;/>{\"'")
	word := "value"
	if strings.HasPrefix(trimmed, "default") { // of a variable in HCL
		word = "default"
	} else if !strings.HasPrefix(trimmed, word) {
		return 0
	}
	at := len(low) - len(trimmed) + len(word)
	for at < len(low) && strings.ContainsRune("\"'` ", rune(low[at])) {
		at++
	}
	if n := separator(low[at:]); n > 0 {
		return at + n
	}
	return 0
}

func identifiedBefore(low string) bool {
	return strings.Contains(low[max(0, len(low)-60):], "identified")
}
