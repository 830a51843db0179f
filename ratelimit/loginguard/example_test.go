package loginguard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/loginguard"
)

// A login form that shows itself again with status 200 after a wrong password.
func Example() {
	guard, err := loginguard.New([]byte("32 random bytes from the settings"), nil)
	if err != nil {
		log.Fatal(err)
	}
	login := guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("password") == "secret" {
			ratelimit.AdmissionFrom(r.Context()).Succeed() // before the answer: it sets a cookie
			fmt.Fprint(w, "welcome")
			return
		}
		fmt.Fprint(w, "wrong, try again")
	}))
	try := func(password string) int {
		r := httptest.NewRequest(http.MethodPost, "/login/", strings.NewReader("username=anna&password="+password))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		login.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(try("a"), try("b"), try("c"), try("d"), try("e"), try("f"))
	// Output: 200 200 200 200 200 429
}
