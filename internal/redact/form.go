package redact

import "strings"

// findByForm hides words that have the form of a secret anywhere in the text: key blocks,
// tokens with the prefix of a provider, JSON web tokens, and words of random characters.
func findByForm(spans []span, text string) []span {
	spans = findBlocks(spans, text)
	for i := 0; i < len(text); {
		if !isTokenByte(text[i]) {
			i++
			continue
		}
		j := i
		for j < len(text) && isTokenByte(text[j]) {
			j++
		}
		n := len(spans)
		spans = findInWord(spans, text, i, j)
		if i = j; len(spans) > n { // a token may be longer than the word
			i = max(i, spans[n].to)
		}
	}
	return spans
}

// isTokenByte reports whether tokens contain the byte. Slashes and dots separate paths and
// names. For tokens that contain them, the parts are joined again.
func isTokenByte(c byte) bool {
	return isAlnum(c) || c == '_' || c == '-' || c == '+' || c == '~'
}

func findInWord(spans []span, text string, i, j int) []span {
	word := text[i:j]
	if len(word) >= 2 {
		if n := providerToken(text[i:]); n > 0 {
			return append(spans, span{i, i + n})
		}
		// A prefix inside a word: after "=" a new word begins, after "_" it does not.
		if k := strings.IndexByte(word, '_'); k > 0 && k+4 < len(word) {
			if n := providerToken(text[i+k+1:]); n > 0 {
				return append(spans, span{i + k + 1, i + k + 1 + n})
			}
		}
	}
	if len(word) < 12 || !looksRandom(word) || isFraction(text, i) {
		return spans
	}
	// A token may continue after a dot, a slash or a sign of base64.
	for j < len(text) && (isTokenByte(text[j]) || (text[j] == '.' || text[j] == '/' || text[j] == '=') && j+1 < len(text) && isTokenByte(text[j+1]) || text[j] == '=') {
		j++
	}
	for i > 0 && text[i-1] == '/' && i > 1 && isTokenByte(text[i-2]) && len(word) >= 20 {
		k := i - 1
		for k > 0 && isTokenByte(text[k-1]) {
			k--
		}
		if !looksRandom(text[k : i-1]) {
			break
		}
		i = k
	}
	if contextIsPlain(text, i, word) {
		return spans
	}
	return append(spans, span{i, j})
}

// findBlocks hides PEM and similar blocks, except certificates and public keys.
func findBlocks(spans []span, text string) []span {
	for at := 0; ; {
		i := strings.Index(text[at:], "-----BEGIN ")
		if i < 0 {
			break
		}
		from := at + i
		head := text[from+11 : min(len(text), from+60)]
		if end := strings.Index(head, "-----"); end >= 0 {
			head = head[:end]
		}
		to := len(text)
		if end := strings.Index(text[from:], "-----END "); end >= 0 {
			to = from + end + 9
			if last := strings.Index(text[to:], "-----"); last >= 0 && last < 50 {
				to += last + 5
			}
		}
		at = to
		if !strings.HasPrefix(head, "CERTIFICATE") && !strings.Contains(head, "PUBLIC KEY") && !strings.HasPrefix(head, "X509 CRL") {
			spans = append(spans, span{from, to})
		}
	}
	for _, mark := range []string{"PuTTY-User-Key-File", "Private-Lines:"} {
		if i := strings.Index(text, mark); i >= 0 {
			spans = append(spans, span{i, len(text)})
		}
	}
	return spans
}

// looksRandom reports whether a word has the mixture of characters that tokens have, and that
// words, names, versions and numbers do not have.
func looksRandom(w string) bool {
	w = strings.Trim(w, `"'.,;:()[]{}<>=`)
	if len(w) < 12 || len(w) > 4096 {
		return false
	}
	if isUUID(w) || longestPiece(w) < 8 && len(w) < 32 || hasDate(w) {
		return false
	}
	var upper, low, digit, other, switches, hexes int
	last := byte(0)
	for i := 0; i < len(w); i++ {
		class := byte('o')
		switch c := w[i]; {
		case c >= '0' && c <= '9':
			digit++
			class = 'd'
		case c >= 'a' && c <= 'z':
			low++
			class = 'l'
		case c >= 'A' && c <= 'Z':
			upper++
			class = 'l' // CamelCase alone is a name
		default:
			other++
		}
		if isHexByte(w[i]) {
			hexes++
		}
		if last != 0 && class != last && class != 'o' && last != 'o' {
			switches++
		}
		last = class
	}
	switch {
	case digit == 0:
		// A word of only letters is a name unless capitals and small letters alternate often.
		return len(w) >= 24 && other == 0 && upper >= 4 && low >= 4 && caseSwitches(w)*3 > len(w) && !isCamelCase(w)
	case hexes == len(w):
		return len(w) >= 32 && digit > 3
	case upper > 0 && low > 0:
		return switches >= 3 && other*4 <= len(w) || len(w) >= 20 && switches >= 2 && caseSwitches(w) >= 5
	case len(w) >= 24 && other == 0:
		return switches >= 6
	case len(w) >= 32:
		return switches >= 8 && other <= 2
	}
	return false
}

// longestPiece returns the length of the longest part between dashes and plus signs. Versions
// and names have only short parts.
func longestPiece(w string) int {
	longest, n := 0, 0
	for i := 0; i < len(w); i++ {
		if w[i] == '-' || w[i] == '+' {
			n = 0
			continue
		}
		n++
		longest = max(longest, n)
	}
	return longest
}

// hasDate reports whether a word has a date such as 2026-11-28 or 20261128T020000Z.
func hasDate(w string) bool {
	for i := 0; i+15 <= len(w); i++ {
		if (w[i] == '2' && w[i+1] == '0' || w[i] == '1' && w[i+1] == '9') && (w[i+8] == 'T' || w[i+8] == '-') && isDigits(w[i:i+8]) && isDigits(w[i+9:i+15]) {
			return true
		}
	}
	for i := 0; i+10 <= len(w); i++ {
		if (w[i] == '2' && w[i+1] == '0' || w[i] == '1' && w[i+1] == '9') && w[i+4] == '-' && w[i+7] == '-' && isPort(w[i+2:i+4]) && isPort(w[i+5:i+7]) && isPort(w[i+8:i+10]) {
			return true
		}
	}
	return false
}

// isStamp reports whether s begins with a time such as 20261128T020000.
func isStamp(s string) bool {
	return len(s) >= 15 && (s[0] == '2' && s[1] == '0' || s[0] == '1' && s[1] == '9') && (s[8] == 'T' || s[8] == '-') && isDigits(s[:8]) && isDigits(s[9:15])
}

// isFraction reports whether the word at i holds the fractional seconds of a time, as
// in 20261128T020000.123456Z-ab12cd34.
func isFraction(text string, i int) bool {
	return i >= 16 && text[i-1] == '.' && isStamp(text[i-16:]) && text[i] >= '0' && text[i] <= '9'
}

// isStampedID reports whether a value is a time with a short suffix, as backups and
// alerts are named.
func isStampedID(v string) bool {
	if !isStamp(v) {
		return false
	}
	rest := v[15:]
	if strings.HasPrefix(rest, ".") {
		rest = strings.TrimLeft(rest[1:], "0123456789")
	}
	return len(strings.TrimPrefix(rest, "Z")) <= 16
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func caseSwitches(w string) int {
	n := 0
	for i := 1; i < len(w); i++ {
		a, b := w[i-1], w[i]
		if a >= 'a' && a <= 'z' && b >= 'A' && b <= 'Z' || a >= 'A' && a <= 'Z' && b >= 'a' && b <= 'z' {
			n++
		}
	}
	return n
}

// looksLikeKey reports whether a value in the place of a key may be a key: long, in one piece,
// with letters and digits.
func looksLikeKey(v string) bool {
	v = strings.Trim(v, `"'.,;:()[]{}<>`)
	if len(v) < 16 || isUUID(v) || !isToken(v) || isStampedID(v) {
		return false
	}
	digits, letters := 0, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
			digits++
		case isAlnum(c):
			letters++
		}
	}
	return digits >= 2 && letters >= 2
}

// looksSecret reports whether a single word after "password" or "Bearer" is not a word of
// prose.
func looksSecret(v string) bool {
	v = strings.Trim(v, `"'.,;:()[]{}<>`+"`")
	if len(v) < 4 || vocabulary[lower(v)] {
		return false
	}
	if strings.HasPrefix(v, "/") || strings.Contains(v, "://") {
		return false
	}
	digits, lowers, uppers, signs := 0, 0, 0, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z':
			lowers++
		case c >= 'A' && c <= 'Z':
			uppers++
		case c < 0x80 && c != '-' && c != '_' && c != '.' && c != '\'' && c != '/':
			signs++
		}
	}
	letters := lowers + uppers
	return digits > 0 && letters > 0 || signs > 0 && letters > 2 || uppers > 1 && lowers > 0 && len(v) >= 8 && uppers != len(v) || strings.HasSuffix(v, "==")
}

func isToken(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; !isTokenByte(c) && c != '.' && c != '/' && c != '=' && c != ':' {
			return false
		}
	}
	return v != ""
}

func isWordLike(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; !(c >= 'a' && c <= 'z' || c == ' ' || c == '_' || c == '-') {
			return false
		}
	}
	return len(v) <= 12
}

func isHexByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isUUID(w string) bool {
	if len(w) != 36 || w[8] != '-' || w[13] != '-' || w[18] != '-' || w[23] != '-' {
		return false
	}
	for i := 0; i < len(w); i++ {
		if w[i] != '-' && !isHexByte(w[i]) {
			return false
		}
	}
	return true
}

// plainContexts are words before a random-looking identifier that is public.
var plainContexts = words(`sha1 sha224 sha256 sha384 sha512 md5 blake3 commit revision rev digest checksum etag trace traceid trace_id span span_id spanid request
	requestid request_id req_id correlation correlation_id uuid image build git fingerprint serial snapshot wal segment container pod node manifest object
	transaction txid xid gtid oid instance deployment replica job run message message_id id layer thumbprint tag version branch`)

// contextIsPlain reports whether the word before an identifier marks it as public, such as a
// digest. Only words of hexadecimal digits can be public.
func contextIsPlain(text string, i int, word string) bool {
	for k := 0; k < len(word); k++ {
		if !isHexByte(word[k]) && word[k] != '-' {
			return false
		}
	}
	end := i
	for end > 0 && strings.ContainsRune(" :=\"'@(", rune(text[end-1])) {
		end--
	}
	from := end
	for from > 0 && (isAlnum(text[from-1]) || text[from-1] == '_' || text[from-1] == '-') {
		from--
	}
	return plainContexts[strings.TrimPrefix(lower(text[from:end]), "x-")]
}

// providerToken returns the length of a token with a provider's prefix at the start of s, or 0.
func providerToken(s string) int {
	for _, p := range prefixes[s[0]] {
		if !strings.HasPrefix(s, p.text) {
			continue
		}
		n := len(p.text)
		for n < len(s) && (isTokenByte(s[n]) || (s[n] == '.' || s[n] == '/' || s[n] == ':' || s[n] == '=') && n+1 < len(s) && isTokenByte(s[n+1]) || s[n] == '=') {
			n++
		}
		if n-len(p.text) >= p.least && mixed(s[len(p.text):n]) {
			return n
		}
	}
	return 0
}

// mixed reports whether a part of a token has digits, or both capitals and small letters. Words
// of prose have neither.
func mixed(s string) bool {
	upper, low := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			return true
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			low = true
		}
	}
	return upper && low
}

type prefix struct {
	text  string
	least int // minimum number of characters after the prefix
}

// prefixes are the prefixes of providers' tokens, by the first byte.
var prefixes = func() map[byte][]prefix {
	m := map[byte][]prefix{}
	add := func(least int, list string) {
		for _, p := range strings.Fields(list) {
			m[p[0]] = append(m[p[0]], prefix{p, least})
		}
	}
	// source forges, package registries, build services
	add(8, `ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- glptt- glrt- gldt- glcbt- glsoat- glft- glimt- glagent- glffct- GR1348941 gitea_ ATBB ATCTT3 ATATT3
		npm_ pypi- rubygems_ dckr_pat_ dckr_oat_ CCIPAT_ bkua_ crates.io dop_v1_ doo_v1_ dor_v1_ pnu_ nuget_ pat-na1 pat-eu1 sgp_ tfp_ hvs. hvb. hvr. atlasv1
		pul- dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. .atlasv1.`)
	// clouds
	add(12, `AKIA ASIA ABIA ACCA AROA AIDA AIza GOCSPX- ya29. LTAI AKID doppler_ fo1_ FlyV1 rnd_ vercel_ nfp_ nfc_ nfo_ nfu_ nfb_ tskey- v1.0- CFPAT- cfut_`)
	// chat, mail, telephone, paging
	add(8, `xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xoxe. xoxc- xoxd- xapp- xwfp- SG. mailgun- xkeysib- xsmtpsib- PMAK- pdus+ sq0atp- sq0csp- EAAC shpat_ shpca_
		shppa_ shpss_ shptka_`)
	// payment, shops
	add(8, `sk_live_ sk_test_ rk_live_ rk_test_ pk_live_ whsec_ access_token$production$ access_token$sandbox$ FLWSECK_ FLWSECK- FLWPUBK_ rzp_live_ rzp_test_
		APP_USR- EZAK EZTK shippo_ live_pub_ test_pub_`)
	// machine learning, data, monitoring, secrets of secret stores
	add(8, `sk-ant- sk-proj- sk-svcacct- sk-or- hf_ api_org_ gsk_ xai- pplx- jina_ pcsk_ tvly- nvapi- dapi lsv2_ phc_ phx_ sntrys_ sntryu_ glsa_ glc_ NRAK- NRAL-
		NRIQ- NRJS- NRII- ddp_ lin_api_ lin_oauth_ ntn_ figd_ figo_ AstraCS: duffel_ rdme_ apify_api_ pscale_tkn_ pscale_pw_ pscale_oauth_ sbp_ sb_secret_
		sb_publishable_ ops_eyJ ico- AGE-SECRET-KEY-1 AGE-SECRET-KEY-PQ-1 cs_live_ xprv`)
	// short prefixes, which also begin ordinary words
	add(16, `sk- r8_ co_ re_ secret_ dd_ sl. PK_ key- live_ sandbox_ ion_ tk_ 1// u+`)
	add(30, `A3-`) // 1Password
	// a JSON web token, also a truncated one
	add(10, `eyJ`)
	return m
}()
