//go:build vm

package e2e

import (
	"os"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// With this tag every booted node is a real machine.
func init() { os.Setenv(testbed.BootedVariable, "real") }
