package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// processor returns the name of this machine's processor, in the form that a reader knows.
func processor() string {
	model := runtime.GOARCH
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(data); m != nil {
			model = regexp.MustCompile(`\(R\)|\(TM\)| Processor| CPU| @.*`).ReplaceAllString(string(m[1]), "")
		}
	}
	return strings.Join(strings.Fields(model), " ")
}

// conditions describes where the figures come from, besides the processor.
func conditions() string {
	return fmt.Sprintf("%d processors, %s, %s/%s, %s", runtime.NumCPU(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH, time.Now().UTC().Format(time.DateOnly))
}
