//go:build !unix

package testserver

import (
	"os/exec"
	"testing"
)

func userName() string { return "" }

func dropRoot(*exec.Cmd) {}

func giveAway(testing.TB, ...string) {}
