// Command release prepares and checks a release of all modules, and updates the API snapshots.
//
//	release prepare v0.2.0   write that version into every go.mod and into CHANGELOG.md
//	release check            fetch every module from a file proxy, like a user
//	release api              compare the exported API with the files in api/
//	release api -write       write these files again
//
// The script .ci/release calls it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const usage = `usage: .ci/release --prepare vX.Y.Z   write a version into every go.mod and CHANGELOG.md
       .ci/release --check            fetch every module from a file proxy, as a user would
       .ci/release --api [-write]     compare the exported API with api/, or write it again`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	modules, err := findModules(repo)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "--prepare" && len(args) == 2:
		return prepare(repo, modules, args[1])
	case args[0] == "--check" && len(args) == 1:
		return check(repo, modules)
	case args[0] == "--api" && len(args) == 1:
		return compareAPI(repo, modules)
	case args[0] == "--api" && len(args) == 2 && args[1] == "-write":
		return writeAPI(repo, modules)
	}
	return errors.New(usage)
}
