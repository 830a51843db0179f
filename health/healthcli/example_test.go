package healthcli_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/mainstay-go/mainstay/health"
	"github.com/mainstay-go/mainstay/health/healthcli"
)

// A service mounts the command beside its own commands.
func ExampleCommand() {
	cmd := healthcli.Command{
		Name: "pos health",
		Registry: func(context.Context) (*health.Registry, error) {
			return health.New([]health.Check{
				health.Func("database", time.Second, func(context.Context) error { return nil }),
				{Name: "disk", Timeout: time.Second, Checker: health.CheckerFunc(func(context.Context) health.Result {
					return health.Warned("83 % used")
				})},
			}, nil)
		},
		Stdout: os.Stdout,
	}
	fmt.Println("exit code", cmd.Run(context.Background(), nil))
	// Output:
	// WARN    disk: 83 % used
	// exit code 1
}
