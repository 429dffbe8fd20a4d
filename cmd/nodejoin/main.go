// Command nodejoin joins this machine to a Kubernetes cluster as a worker, and
// is done when its Node is there and stays.
package main

import (
	"os"

	"github.com/nodejoin/nodejoin/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)) }
