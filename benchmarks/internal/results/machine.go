package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"
)

// machine describes where the figures come from.
func machine() string {
	model := runtime.GOARCH
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(data); m != nil {
			model = string(m[1])
		}
	}
	return fmt.Sprintf("%s, %d processors, %s, %s/%s, %s", model, runtime.NumCPU(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH, time.Now().UTC().Format(time.DateOnly))
}
