package host

import (
	"context"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// The class of ioprio_set(2) that is served when nobody else wants the disk.
const (
	ioprioThread = 1 // IOPRIO_WHO_PROCESS
	ioprioIdle   = 3 << 13
)

// ReadPrograms reads those of the programs that are in PATH, so that they start from memory: on a volume that is loaded from
// afar a first read takes many times as long. Whatever else the disk is asked for goes first.
func ReadPrograms(ctx context.Context, programs ...string) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // whose priority it is
		before, _, unknown := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioThread, 0, 0)
		if _, _, refused := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioThread, 0, ioprioIdle); unknown != 0 || refused != 0 {
			return // at any other priority it would do harm; a thread that stays locked ends here, or does nothing more
		}
		for _, program := range programs {
			if path, err := exec.LookPath(program); err == nil {
				readAway(ctx, path)
			}
		}
		if _, _, stays := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioThread, 0, before); stays == 0 {
			runtime.UnlockOSThread()
		}
	}()
	<-ended
}

func readAway(ctx context.Context, path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	buffer := make([]byte, 256<<10)
	for ctx.Err() == nil {
		if _, err := file.Read(buffer); err != nil { // io.EOF as a rule
			return
		}
	}
}
