package testbed

import (
	"fmt"
	"os"
	"path/filepath"
)

// Clean removes the compiled components and the images. Testbeds that run keep their components, which live as long as they
// are in use; a booted node that runs loses its image.
func Clean() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	return os.RemoveAll(filepath.Join(cache, "nodejoin-testbed"))
}
