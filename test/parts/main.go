// Command parts compiles the components of the testbed and makes the image of its booted nodes, or with -clean removes them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func main() {
	clean := flag.Bool("clean", false, "remove the compiled components")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *clean); err != nil {
		fmt.Fprintf(os.Stderr, "parts: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, clean bool) error {
	if clean {
		return testbed.Clean()
	}
	if _, err := testbed.Build(ctx, os.Stderr); err != nil {
		return err
	}
	_, err := testbed.BuildImage(ctx, os.Stderr)
	return err
}
