package mainstay_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	codeOfPage = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	linkOfPage = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings   = regexp.MustCompile(`(?m)^#{1,6} (.*)$`)
	noSlug     = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestLinks follows each relative link of the documents to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	pages := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			text, readErr := os.ReadFile(path)
			pages[path], err = strings.ReplaceAll(string(text), "\r\n", "\n"), readErr
		}
		return err
	})
	if err != nil || len(pages) < 20 {
		t.Fatal(len(pages), err)
	}
	for path, text := range pages {
		for _, link := range linkOfPage.FindAllStringSubmatch(codeOfPage.ReplaceAllString(text, ""), -1) {
			file, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s does not exist", path, link[1])
			} else if anchor != "" && !hasHeading(pages[target], anchor) {
				t.Errorf("%s: %s is no heading", path, link[1])
			}
		}
	}
}

// hasHeading reports whether a heading has an anchor, as GitHub derives it.
func hasHeading(page, anchor string) bool {
	for _, heading := range headings.FindAllStringSubmatch(page, -1) {
		slug := noSlug.ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return true
		}
	}
	return false
}
