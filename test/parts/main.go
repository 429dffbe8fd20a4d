// Command parts compiles the components of the testbed and makes the image of its booted nodes, or with -clean removes them.
// With arguments it compiles the parts of Kubernetes of other minors, as in 1.34.
package main

import (
	"context"
	"errors"
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
	if err := run(ctx, *clean, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "parts: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, clean bool, minors []string) error {
	if clean {
		return testbed.Clean()
	}
	for _, minor := range minors {
		if _, err := testbed.BuildNodeParts(ctx, os.Stderr, minor); err != nil {
			return err
		}
		if _, err := testbed.BuildControlPlaneParts(ctx, os.Stderr, minor); err != nil && !errors.Is(err, testbed.ErrNoControlPlane) {
			return err
		}
	}
	if len(minors) > 0 {
		return nil
	}
	if _, err := testbed.BuildNodeParts(ctx, os.Stderr, testbed.OldNodes); err != nil {
		return err
	}
	_, err := testbed.BuildImage(ctx, os.Stderr)
	return err
}
