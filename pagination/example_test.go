package pagination_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/mainstay-go/mainstay/pagination"
)

// A page-number list, by the rules of Django REST Framework.
func Example_pageNumber() {
	pager, err := pagination.NewPageNumber(pagination.Small, nil)
	if err != nil {
		panic(err)
	}
	list := make(pagination.Slice[int], 23)
	for i := range list {
		list[i] = i + 1
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		page, err := pagination.Paginate(r, pager, pagination.Lister[int](list))
		if err == nil {
			err = page.Write(w)
		}
		if err != nil {
			pagination.WriteError(w, err)
		}
	}
	for _, url := range []string{"http://shop.example/numbers?page=3&even=no", "http://shop.example/numbers?page=4"} {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodGet, url, nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 {"count":23,"total_pages":3,"current_page":3,"page_size":10,"next":null,"previous":"http://shop.example/numbers?even=no&page=2","results":[21,22,23]}
	// 404 {"detail":"Invalid page."}
}

// A limit/offset list.
func Example_limitOffset() {
	pager, err := pagination.NewLimitOffset(pagination.Standard, nil)
	if err != nil {
		panic(err)
	}
	list := pagination.Slice[string]{"a", "b", "c", "d", "e"}
	r := httptest.NewRequest(http.MethodGet, "http://shop.example/letters?limit=2&offset=2", nil)
	page, err := pagination.PaginateOffset(r, pager, pagination.Lister[string](list))
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results, page.Next, page.Previous)
	// Output:
	// [c d] http://shop.example/letters?limit=2&offset=4 http://shop.example/letters?limit=2
}

// A total that is counted to a limit only.
func ExampleCountCapped() {
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 2}, &pagination.PageNumberOptions{Count: pagination.CountCapped(5)})
	if err != nil {
		panic(err)
	}
	letters := pagination.Slice[string]{"a", "b", "c", "d", "e", "f", "g", "h"}
	page, err := pagination.Read(context.Background(), pager, pagination.PageRequest{Number: 4}, letters)
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Results, page.Count.N, page.Count.Precision == pagination.AtLeast)
	// Output:
	// [g h] 8 true
}

// Links behind a proxy, and in the headers too.
func ExampleLinks() {
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 2}, &pagination.PageNumberOptions{Links: &pagination.Links{
		TrustedProxies: []string{"10.0.0.0/8"}, AllowedHosts: []string{"shop.example"}, Headers: true,
	}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://backend:8080/letters", nil)
	r.RemoteAddr = "10.1.2.3:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", "shop.example")
	page, err := pagination.Paginate(r, pager, pagination.Lister[string](pagination.Slice[string]{"a", "b", "c"}))
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	if err := page.Write(w); err != nil {
		panic(err)
	}
	fmt.Println(page.Next)
	fmt.Println(w.Header().Get("X-Total-Count"), w.Header().Get("Link"))
	// Output:
	// https://shop.example/letters?page=2
	// 3 <https://shop.example/letters>; rel="first", <https://shop.example/letters?page=2>; rel="next", <https://shop.example/letters?page=2>; rel="last"
}

// The row of links under a list.
func ExamplePage_Window() {
	pager, err := pagination.NewPageNumber(pagination.Preset{Size: 1}, &pagination.PageNumberOptions{Links: &pagination.Links{Relative: true}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/list?page=5", nil)
	page, err := pagination.Paginate(r, pager, pagination.Lister[int](make(pagination.Slice[int], 9)))
	if err != nil {
		panic(err)
	}
	for _, link := range page.Window() {
		switch {
		case link.Number == pagination.Break:
			fmt.Print("… ")
		case link.Active:
			fmt.Print("[", link.Number, "] ")
		default:
			fmt.Print(link.Number, " ")
		}
	}
	fmt.Println(page.Window()[0].URL, page.Window()[2].URL)
	// Output:
	// 1 … 4 [5] 6 … 9 /list /list?page=4
}

// Rows with their children, in two statements instead of one for each row.
func ExampleAttach() {
	type day struct {
		number   int
		products []string
	}
	type sale struct {
		day     int
		product string
	}
	days := []day{{number: 1}, {number: 2}, {number: 9}}
	err := pagination.Attach(
		context.Background(), days,
		func(d day) (int, bool) { return d.number, true },
		func(_ context.Context, numbers []int) (map[int][]sale, error) {
			in, args := pagination.In(numbers)
			fmt.Println("SELECT … WHERE day IN", in, args)
			sales := []sale{{1, "tea"}, {1, "milk"}, {2, "tea"}} // run the statement
			return pagination.GroupBy(sales, func(s sale) int { return s.day }), nil
		},
		func(d *day, sales []sale) {
			for _, s := range sales {
				d.products = append(d.products, s.product)
			}
		},
	)
	fmt.Println(days, err)
	// Output:
	// SELECT … WHERE day IN (?, ?, ?) [1 2 9]
	// [{1 [tea milk]} {2 [tea]} {9 []}] <nil>
}

// The parameters of a list, for an OpenAPI document.
func ExamplePageNumber_OpenAPIParameters() {
	pager, err := pagination.NewPageNumber(pagination.Standard, nil)
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	for _, parameter := range pager.OpenAPIParameters() {
		if err := out.Encode(parameter); err != nil {
			panic(err)
		}
	}
	// Output:
	// {"description":"A page number within the paginated result set.","in":"query","name":"page","required":false,"schema":{"type":"integer"}}
	// {"description":"Number of results to return per page.","in":"query","name":"page_size","required":false,"schema":{"type":"integer"}}
}
