package export_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mainstay-go/mainstay/pagination/export"
)

// A service passes Keyset.All, which reads the list in batches, and ServeCSV for a download.
func ExampleWriteCSV() {
	type sale struct {
		id     int
		reason string
	}
	rows := func(yield func(sale, error) bool) {
		_ = yield(sale{1, "bread, milk"}, nil) && yield(sale{2, "=HYPERLINK(A1)"}, nil)
	}
	var out strings.Builder
	n, err := export.WriteCSV(&out, []export.Column[sale]{
		{Header: "id", Value: func(s sale) string { return strconv.Itoa(s.id) }},
		{Header: "reason", Value: func(s sale) string { return s.reason }},
	}, rows, nil)
	fmt.Print(strings.ReplaceAll(out.String(), "\r\n", "\n"))
	fmt.Println(n, err)
	// Output:
	// id,reason
	// 1,"bread, milk"
	// 2,'=HYPERLINK(A1)
	// 2 <nil>
}
