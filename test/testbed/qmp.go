package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// qmp gives QEMU one order by its own protocol and decodes the answer.
func (b *Booted) qmp(ctx context.Context, order string, arguments map[string]any, into any) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/%d/root%s", b.outer(), qmpSocket))
	if err != nil {
		return fmt.Errorf("asking QEMU of %s for %s: %w", b.Name, order, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	encoder, decoder := json.NewEncoder(conn), json.NewDecoder(conn)
	answer := func() (json.RawMessage, error) {
		for {
			var line struct {
				Return json.RawMessage
				Error  *struct{ Desc string }
			}
			if err := decoder.Decode(&line); err != nil {
				return nil, err
			}
			if line.Error != nil {
				return nil, errors.New(line.Error.Desc)
			}
			if line.Return != nil { // else the greeting, or an event
				return line.Return, nil
			}
		}
	}
	for _, request := range []map[string]any{{"execute": "qmp_capabilities"}, {"execute": order, "arguments": arguments}} {
		if arguments == nil {
			delete(request, "arguments")
		}
		if err := encoder.Encode(request); err != nil {
			return err
		}
		said, err := answer()
		if err != nil {
			return fmt.Errorf("QEMU of %s, %s: %w", b.Name, order, err)
		}
		if into != nil && request["execute"] == order {
			return json.Unmarshal(said, into)
		}
	}
	return nil
}

// Throttle makes the disk read and write this many bytes in a second, as a volume does that is loaded from afar when it is
// first read; 0 ends it.
func (b *Booted) Throttle(ctx context.Context, bytesPerSecond int) error {
	return b.qmp(ctx, "block_set_io_throttle", map[string]any{"device": "root", "bps": 0, "bps_rd": bytesPerSecond, "bps_wr": bytesPerSecond,
		"iops": 0, "iops_rd": 0, "iops_wr": 0}, nil)
}

// latecomer is a file of the outer system; the kernel calls the disk vdb.
const latecomer = "/node/late"

// AttachDisk plugs an empty disk with a file system into the computer that runs.
func (b *Booted) AttachDisk(ctx context.Context) error {
	if _, err := b.runOuter(ctx, "mke2fs", "-q", "-t", "ext4", "-L", "late", latecomer, "2G"); err != nil {
		return err
	}
	return errors.Join(
		b.qmp(ctx, "blockdev-add", map[string]any{"driver": "raw", "node-name": "late", "file": map[string]any{"driver": "file", "filename": latecomer}}, nil),
		b.qmp(ctx, "device_add", map[string]any{"driver": "virtio-blk-pci", "drive": "late", "bus": "late", "id": "late"}, nil))
}

// Snapshot is a computer at a moment: its disk and its memory, as files.
type Snapshot struct{ disk, memory string }

// memoryFile is where QEMU writes and reads the memory.
const memoryFile = "/node/memory"

// Snapshot halts the computer, keeps what it is, and lets it go on.
func (b *Booted) Snapshot(ctx context.Context) (Snapshot, error) {
	if err := b.qmp(ctx, "stop", nil, nil); err != nil {
		return Snapshot{}, err
	}
	if err := b.qmp(ctx, "migrate", map[string]any{"uri": "exec:cat >" + memoryFile}, nil); err != nil {
		return Snapshot{}, err
	}
	err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
		var state struct{ Status string }
		if err := b.qmp(ctx, "query-migrate", nil, &state); err != nil {
			return false, err
		}
		return state.Status == "completed", fmt.Errorf("it is %s", state.Status)
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("keeping the memory of %s: %w", b.Name, err)
	}
	s := Snapshot{b.disk(diskFile) + "-" + randomHex(4), b.disk(memoryFile) + "-" + randomHex(4)}
	return s, errors.Join(copyFile(b.disk(diskFile), s.disk), copyFile(b.disk(memoryFile), s.memory), b.qmp(ctx, "cont", nil, nil))
}

// Restore puts the computer back to what it was: with its memory, so the kernel does not notice but for the time.
func (b *Booted) Restore(ctx context.Context, s Snapshot) error {
	b.PowerOff()
	if err := errors.Join(copyFile(s.disk, b.disk(diskFile)), copyFile(s.memory, b.disk(memoryFile))); err != nil {
		return err
	}
	b.computer.args = []string{"-incoming", "exec:cat " + memoryFile}
	defer func() { b.computer.args = nil }()
	return b.Boot(ctx)
}
