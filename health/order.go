package health

import (
	"cmp"
	"slices"
)

// worstFirst returns the checks in the order that suits a person on call: failing,
// warning, flapping, not checked, healthy. Critical checks come before others, and then
// the order given to New applies.
func worstFirst(checks []CheckState) []CheckState {
	sorted := slices.Clone(checks)
	slices.SortStableFunc(sorted, func(a, b CheckState) int {
		return cmp.Or(a.rank()-b.rank(), boolRank(b.Critical)-boolRank(a.Critical))
	})
	return sorted
}

func (c *CheckState) rank() int {
	switch {
	case c.Status == Fail:
		return 0
	case c.Status == Warn:
		return 1
	case c.Flapping:
		return 2
	case c.Status == Unknown:
		return 3
	}
	return 4
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
