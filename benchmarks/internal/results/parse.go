package main

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// figures are the metrics of one benchmark in one run, by unit.
type figures map[string]float64

var processors = regexp.MustCompile(`-\d+$`)

// parse reads the output of one run of benchmarks. A benchmark that occurs more than once keeps its last figures.
func parse(r io.Reader) (map[string]figures, error) {
	found := map[string]figures{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		if _, err := strconv.ParseInt(fields[1], 10, 64); err != nil {
			continue
		}
		metrics := figures{}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break
			}
			metrics[fields[i+1]] = value
		}
		found[processors.ReplaceAllString(fields[0], "")] = metrics
	}
	return found, lines.Err()
}
