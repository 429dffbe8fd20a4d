// Command installer renders in Go the retry of a comparable installer, for the benchmark: it runs a command up to 5 times,
// 1 s apart, and tries again only if the command said that a connection was refused or timed out.
package main

import (
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	for try := range 5 {
		if try > 0 {
			time.Sleep(time.Second)
		}
		out, err := exec.Command(os.Args[1], os.Args[2:]...).CombinedOutput()
		os.Stdout.Write(out)
		if err == nil {
			return
		}
		if !strings.Contains(string(out), "connection refused") && !strings.Contains(string(out), "timeout") {
			break
		}
	}
	os.Exit(1)
}
