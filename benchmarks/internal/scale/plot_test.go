package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	c := curve{Title: "a < b", X: "keys", Y: "ns", Series: []string{"one & two"}}
	svg := plot(c, map[string][]point{"one & two": {{100, 50}, {1000, 70}, {1_000_000, 900}}})
	decoder := xml.NewDecoder(strings.NewReader(svg))
	circles := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 3 {
		t.Errorf("%d points", circles)
	}
	a := axis{low: 1, high: 1000}
	if a.share(1000) != 1 || a.share(0) != 0 {
		t.Error("the ends of the axis")
	}
}
