package main

// tables are the tables of README.md and RESULTS.md, in their order.
var tables = []table{
	{
		Name: "pagination-request", Title: "Pages: page and size from a request", Package: "pagination", Quick: true,
		Rows: []row{
			{Label: "page and size from a request", Ours: "BenchmarkParse/mainstay", Peer: "BenchmarkParse/net-url", PeerIs: "`url.Query`", Bound: 0.3, Portable: true},
		},
	},
}
