package operate_test

import (
	"context"
	"fmt"

	"github.com/mainstay-go/mainstay/ratelimit"
	"github.com/mainstay-go/mainstay/ratelimit/operate"
)

// An operator unlocks an account.
func ExampleSet() {
	ctx := context.Background()
	login, err := ratelimit.NewMemory(ratelimit.Login(), nil)
	if err != nil {
		panic(err)
	}
	if _, err := login.AllowN(ctx, ratelimit.Key("account", "anna"), 5); err != nil {
		panic(err)
	}
	limiters, err := operate.Limiters(login)
	if err != nil {
		panic(err)
	}
	before, after, err := operate.Set(ctx, limiters, "login", "account:anna", 0)
	fmt.Println(before.Remaining, after.Remaining, err)
	// Output:
	// 0 5 <nil>
}
