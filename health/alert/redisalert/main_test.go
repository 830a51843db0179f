package redisalert

import (
	"os"
	"testing"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestMain(m *testing.M) {
	testserver.MostlyWaits(3)
	os.Exit(m.Run())
}
