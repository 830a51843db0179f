package backup_test

import (
	"fmt"

	"github.com/mainstay-go/mainstay/backup"
)

// A directory server has its own program that dumps it.
func ExampleNewCommand() {
	source, err := backup.NewCommand([]string{"slapcat", "-n", "1"}, &backup.CommandOptions{Extension: ".ldif", Database: "staff"})
	if err != nil {
		panic(err)
	}
	fmt.Println(source.Describe().Engine, source.Describe().Extension)
	// Output: command .ldif
}
