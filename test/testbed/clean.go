package testbed

import (
	"fmt"
	"os"
	"path/filepath"
)

// Clean removes the compiled components. Testbeds that run keep theirs: the files live as long as they are in use.
func Clean() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	return os.RemoveAll(filepath.Join(cache, "nodejoin-testbed"))
}
