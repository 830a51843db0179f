package main

// A table is one table of the results: benchmarks of one package, each row a ratio between two of them.
type table struct {
	Name    string // the name of the marker in README.md and of the section in RESULTS.md
	Title   string
	Package string // below benchmarks/
	Quick   bool   // part of --quick
	Env     []string
	// Benchtime replaces the time of one benchmark in a round, for benchmarks that take seconds by themselves.
	Benchtime string
	Rows      []row
}

// A row compares one benchmark with a peer of the same run. The ratio is ours divided by the peer's.
type row struct {
	Label  string
	Ours   string // the name of a benchmark without the number of processors, spaces as underscores
	Peer   string // empty: the row shows the figure of Ours
	PeerIs string // the peer's name for readers; without Peer, the figure is a ratio to it already
	Unit   string // "ns/op" unless it says otherwise
	Shown  string // the unit for readers of a row without a peer
	// Bound is the largest ratio (or figure, without a peer) that the project accepts. 0 states no bound.
	Bound float64
}

// key identifies a row of its table.
func (r row) key() string {
	if r.PeerIs == "" {
		return r.Label
	}
	return r.Label + ", against " + r.PeerIs
}

func (r row) unit() string {
	if r.Unit == "" {
		return "ns/op"
	}
	return r.Unit
}

// peer names what the row is compared with.
func (r row) peer() string {
	if r.PeerIs == "" {
		return "–"
	}
	return r.PeerIs
}

// suffix is the unit behind a figure that is no ratio.
func (r row) suffix() string {
	if r.PeerIs == "" {
		return " " + r.Shown
	}
	return ""
}
