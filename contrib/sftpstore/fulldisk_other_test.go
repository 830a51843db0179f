//go:build !linux

package sftpstore

import (
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/mainstay-go/mainstay/internal/testserver"
)

func fullDisk(t *testing.T, _ *testserver.SSHServer, _ *ssh.ClientConfig) {
	t.Skip("needs Linux to mount a small disk")
}
