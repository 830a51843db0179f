package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/mainstay-go/mainstay/examples/pos/internal/store"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/export"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// reports pages the sales for the office, and streams all sales.
type reports struct{ *list[store.SaleRow] }

func newReports(links *pagination.Links, cursors *keyset.Cursors) (*reports, error) {
	l, err := newList("report", "-created_at", pagination.Report, store.SaleRowColumns(), links, cursors)
	return &reports{l}, err
}

var saleColumns = []export.Column[store.SaleRow]{
	{Header: "id", Value: func(s store.SaleRow) string { return strconv.FormatInt(s.ID, 10) }},
	{Header: "created_at", Value: func(s store.SaleRow) string { return s.CreatedAt.Format(time.RFC3339Nano) }},
	{Header: "total", Value: func(s store.SaleRow) string { return strconv.FormatInt(s.Total, 10) }},
	{Header: "card", Value: func(s store.SaleRow) string {
		if s.Card == nil {
			return ""
		}
		return *s.Card
	}},
	{Header: "cashier", Value: func(s store.SaleRow) string { return s.Cashier }},
	{Header: "voids", Value: func(s store.SaleRow) string {
		if s.Voids == nil {
			return ""
		}
		return strconv.FormatInt(*s.Voids, 10)
	}},
	{Header: "items", Value: func(s store.SaleRow) string { return strconv.FormatInt(s.Items, 10) }},
}

// salesReportPath is the path of the reports.
const salesReportPath = "/api/v1/reports/sales/"

// isDownload reports whether a request is for a complete report.
func isDownload(r *http.Request) bool {
	if r.URL.Path != salesReportPath {
		return false
	}
	format := r.URL.Query().Get("format")
	return format != "" && format != "json"
}

// inDays is the version of what depends on sales and on where a business day begins, which may change
// with a restart.
func (a *API) inDays(v store.Versions) string {
	c := a.Calendar
	return fmt.Sprintf("%s.%v.%02d%02d", v.Money(), c.Zone, c.Hour, c.Minute)
}

func (a *API) salesReport(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	filter, detail := a.saleFilter(q)
	if detail != "" {
		fail(w, http.StatusBadRequest, detail)
		return
	}
	open := func(o keyset.Order) source[store.SaleRow] { return a.Store.SaleRows(filter, o) }
	if !isDownload(r) {
		// A past range does not change with a sale, and changes with a restore.
		a.cachedList(w, r, a.Caches.Reports, a.inDays, func(w http.ResponseWriter, r *http.Request) { serve(a, w, r, a.reports.list, open) })
		return
	}
	order, err := a.reports.keyset.RequestOrder(r)
	if err != nil {
		a.failed(w, r, err)
		return
	}
	format := q.Get("format")
	if format != "csv" && format != "ndjson" {
		fail(w, http.StatusBadRequest, "format: want json, csv or ndjson")
		return
	}
	if err := a.Store.Note(r.Context(), callerOf(r).user.Name, "download", format, r.URL.RawQuery); err != nil {
		a.failed(w, r, err)
		return
	}
	rows := a.reports.keyset.All(r.Context(), open(order), &keyset.AllOptions{Ordering: q.Get("ordering")})
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamPatience))
	if format == "csv" {
		err = export.ServeCSV(w, "sales.csv", saleColumns, rows, nil)
	} else {
		err = export.ServeNDJSON(w, "sales.ndjson", rows, nil)
	}
	if errors.Is(err, export.ErrTruncated) {
		a.Logger.WarnContext(r.Context(), "a download was cut off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the complete report
	}
	if err != nil {
		a.failed(w, r, err)
	}
}
