// Command pos is the point of sale of a school canteen. It is the reference server of the
// library and uses all of its packages.
package main

import (
	"context"
	"os"
	_ "time/tzdata"

	"github.com/mainstay-go/mainstay/examples/pos/internal/command"
)

func main() {
	os.Exit(command.Run(context.Background(), command.Env{
		Getenv: os.Getenv, Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
	}, os.Args[1:]))
}
