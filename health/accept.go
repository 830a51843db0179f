package health

import (
	"strconv"
	"strings"
)

// format is a representation of a response.
type format uint8

const (
	formatHealthJSON format = iota // application/health+json
	formatJSON                     // the same bytes as application/json
	formatText
	formatHTML
	formats
)

var contentTypes = [formats][]string{
	formatHealthJSON: {"application/health+json"},
	formatJSON:       {"application/json"},
	formatText:       {"text/plain; charset=utf-8"},
	formatHTML:       {"text/html; charset=utf-8"},
}

// bestFormat is content negotiation after RFC 9110, section 12.5.1. The format with the
// highest quality wins, and a more exact range wins over a wider one. At a tie the
// format that was named first wins.
func bestFormat(accept string) format {
	if len(accept) > 1024 {
		accept = accept[:1024]
	}
	var quality [formats]float64
	var exact [formats]int
	var place [formats]int
	for i, part := range strings.Split(accept, ",") {
		mediaRange, params, _ := strings.Cut(part, ";")
		q := parseQuality(params)
		for f := range formats {
			e := rangeMatch(strings.ToLower(strings.TrimSpace(mediaRange)), f)
			if e > exact[f] {
				quality[f], exact[f], place[f] = q, e, i
			}
		}
	}
	best := formatHealthJSON
	for f := range formats {
		if quality[f] > quality[best] || quality[f] == quality[best] && quality[f] > 0 &&
			(exact[f] > exact[best] || exact[f] == exact[best] && place[f] < place[best]) {
			best = f
		}
	}
	return best
}

// rangeMatch returns how exactly a media range names a format: 3 by its full name, 2 by
// its type, 1 by */*, and 0 if it does not match.
func rangeMatch(mediaRange string, f format) int {
	full, _, _ := strings.Cut(contentTypes[f][0], ";")
	major, _, _ := strings.Cut(full, "/")
	switch {
	case mediaRange == full, f == formatHTML && mediaRange == "application/xhtml+xml":
		return 3
	case mediaRange == major+"/*":
		return 2
	case mediaRange == "*/*":
		return 1
	}
	return 0
}

func parseQuality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
