package sessionstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mainstay-go/mainstay/cache/sessionstore"
)

// A user logs in on two devices and then ends all sessions, as after a new password.
func Example() { //nolint:testableexamples // it needs a Redis
	client := redis.NewClient(sessionstore.ClientOptions("127.0.0.1:6379"))
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
	// It prints true, and then false for both devices.
}
