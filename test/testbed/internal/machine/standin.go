package machine

import (
	"fmt"
	"os"
	"path/filepath"
)

// runStandIn is systemctl or journalctl: process 1 does the work and keeps the record.
func runStandIn() {
	name := filepath.Base(os.Args[0])
	reply, err := Ask(Socket, Request{Op: name, Args: os.Args[1:]})
	if err != nil {
		fmt.Fprintf(os.Stderr, "Failed to connect to bus: %v\n", err)
		os.Exit(1)
	}
	fmt.Fprint(os.Stdout, reply.Stdout)
	fmt.Fprint(os.Stderr, reply.Stderr)
	os.Exit(reply.Code)
}
