// Command scale measures cost against size for keys, checks, rows, bytes and instances, and writes the plots of
// docs/scale.md as SVG.
//
//	benchmarks/scale            every curve, several minutes
//	benchmarks/scale --quick    smaller sizes, about half a minute
//	benchmarks/scale --only cache
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// A curve is one plot: how costs grow with a size.
type curve struct {
	Name   string // of the file docs/scale/NAME.svg
	Title  string
	X, Y   string // the axes
	Sizes  []int
	Series []string
	// Measure returns the cost of each series at a size. A missing series has no point there.
	Measure func(ctx context.Context, dir string, n int) (map[string]float64, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	quick := flag.Bool("quick", false, "sizes up to a hundred thousand")
	only := flag.String("only", "", "the one curve to measure")
	flag.Parse()
	folder, err := filepath.Abs("../docs/scale")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, c := range curves {
		if *only != "" && *only != c.Name {
			continue
		}
		points, err := measure(ctx, c, *quick)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, c.Name+".svg"), []byte(plot(c, points)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// point is the cost of one series at one size.
type point struct{ x, y float64 }

// measure prints the curve as a table while it goes on.
func measure(ctx context.Context, c curve, quick bool) (map[string][]point, error) {
	fmt.Printf("\n%s\n\n| %s | %s |\n|---|%s\n", c.Title, c.X, strings.Join(c.Series, " | "), strings.Repeat("---|", len(c.Series)))
	points := map[string][]point{}
	for _, n := range c.Sizes {
		if quick && n > 100_000 {
			break
		}
		found, err := inFolder(ctx, c, n)
		if err != nil {
			return nil, err
		}
		fmt.Printf("| %d |", n)
		for _, series := range c.Series {
			if y, ok := found[series]; ok {
				points[series] = append(points[series], point{float64(n), y})
				fmt.Printf(" %.3g |", y)
			} else {
				fmt.Print(" |")
			}
		}
		fmt.Println()
	}
	return points, nil
}

func inFolder(ctx context.Context, c curve, n int) (map[string]float64, error) {
	dir, err := os.MkdirTemp("", "mainstay-scale-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return c.Measure(ctx, dir, n)
}
