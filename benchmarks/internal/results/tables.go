package main

// A table is one table of the results: benchmarks of one package, each row a ratio between two of them.
type table struct {
	Name    string // the name of the marker in README.md and of the section in RESULTS.md
	Title   string
	Package string // below benchmarks/
	Quick   bool   // part of --quick
	Env     []string
	Rows    []row
}

// A row compares one benchmark with a peer of the same run. The ratio is ours divided by the peer's.
type row struct {
	Label  string
	Ours   string // the name of a benchmark without the number of processors, spaces as underscores
	Peer   string // empty: the row shows our own figure
	PeerIs string // the peer's name for readers
	Unit   string // "ns/op" unless it says otherwise
	// Bound is the largest ratio (or figure, without a peer) that the project accepts. 0 states no bound.
	Bound float64
	// Portable says that the ratio is claimed on every processor. Other rows hold for the machine that is named.
	Portable bool
}

func (r row) unit() string {
	if r.Unit == "" {
		return "ns/op"
	}
	return r.Unit
}
