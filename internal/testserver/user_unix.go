//go:build unix

package testserver

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"
)

// userName returns the name of the user that this process runs as.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}

// unprivileged returns the user that takes the place of root.
func unprivileged() (uid, gid int, ok bool) {
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ = strconv.Atoi(u.Uid)
			gid, _ = strconv.Atoi(u.Gid)
			return uid, gid, true
		}
	}
	return 0, 0, false
}

// dropRoot makes a command run as an ordinary user if this process is root.
func dropRoot(cmd *exec.Cmd) {
	if uid, gid, ok := unprivileged(); os.Getuid() == 0 && ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
}

// giveAway changes the owner of files to the user of dropRoot.
func giveAway(t testing.TB, paths ...string) {
	t.Helper()
	uid, gid, ok := unprivileged()
	if os.Getuid() != 0 || !ok {
		return
	}
	for _, path := range paths {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatalf("testserver: %v", err)
		}
	}
}
