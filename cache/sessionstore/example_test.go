package sessionstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/sessionstore"
)

// A user logs in on two devices and then ends all sessions, as after a new password.
func Example() {
	server, err := miniredis.Run() // stands for a Redis server
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(sessionstore.ClientOptions(server.Addr()))
	defer client.Close()
	sessions, err := sessionstore.New(client, nil)
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	phone, err := sessions.Start(ctx, "ann", []byte("cart: 2 apples"), 12*time.Hour)
	if err != nil {
		panic(err)
	}
	laptop, err := sessions.Start(ctx, "ann", nil, 12*time.Hour)
	if err != nil {
		panic(err)
	}

	s, err := sessions.Get(ctx, phone.Token()) // the token came with the client's cookie
	fmt.Println(s != nil, err)
	fmt.Println(sessions.EndAll(ctx, "ann"))
	for _, token := range []string{phone.Token(), laptop.Token()} {
		s, err := sessions.Get(ctx, token)
		fmt.Println(s != nil, err)
	}
	// Output:
	// true <nil>
	// <nil>
	// false <nil>
	// false <nil>
}
