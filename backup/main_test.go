package backup

import (
	"os"
	"testing"
	"time"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func TestMain(m *testing.M) {
	targetGrace = 2 * time.Second // within which a polite storage returns, on a busy machine too
	testserver.MostlyWaits(3)
	os.Exit(m.Run())
}
