package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
	"github.com/vishvananda/netlink"
)

// MetadataService is the unit of a machine's metadata service, for StopUnit, Pause and Machine.Log: it logs every request.
const MetadataService = "ec2-metadata-mock"

// metadataIP is where every EC2 instance finds it.
const metadataIP = "169.254.169.254"

// StartMetadata makes the machine an EC2 instance: Amazon's own mock of the metadata service answers there, at its own
// address, and wants a session token (IMDSv2). It ends with the machine's power; a booted node's outlasts its reboots.
func (m *Machine) StartMetadata(i Instance) error {
	if err := m.startMetadata(i.complete()); err != nil {
		return fmt.Errorf("starting the metadata service of %s: %w", m.Name, err)
	}
	return nil
}

// firmware is laid over what the host has: it may have no DMI table, and in /sys nobody makes a file.
const firmware = `[Unit]
Description=Firmware of an EC2 instance
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'cd /run; mkdir -p firmware/work firmware/class/dmi/id; echo Amazon EC2 > firmware/class/dmi/id/sys_vendor; \
  mount -t overlay -o lowerdir=/sys/class,upperdir=/run/firmware/class,workdir=/run/firmware/work firmware /sys/class'
`

// StartMetadata does that for a booted node. From the next boot on its firmware, too, says that it is EC2's.
func (b *Booted) StartMetadata(i Instance) error {
	if b.computer != nil {
		return b.Machine.StartMetadata(i) // its firmware says so
	}
	const units = "/etc/systemd/system/"
	if err := errors.Join(
		b.WriteFile(units+"firmware.service", firmware, 0o644),
		b.WriteFile(units+"sysinit.target.d/firmware.conf", "[Unit]\nWants=firmware.service\n", 0o644)); err != nil {
		return fmt.Errorf("giving %s the firmware of EC2: %w", b.Name, err)
	}
	return b.Machine.StartMetadata(i)
}

func (m *Machine) startMetadata(i Instance) error {
	if err := m.tb.network.addLoopbackAddress(m.number, metadataIP); err != nil {
		return err
	}
	values := map[string]string{
		"instance-id": i.ID, "instance-type": i.Type, "hostname": i.PrivateDNSName, "local-hostname": i.PrivateDNSName, "local-ipv4": m.IP,
		"placement-availability-zone": zone, "placement-region": region,
	}
	config, err := json.Marshal(map[string]any{"imdsv2": true, "metadata": map[string]any{"values": values}})
	if err != nil {
		return err
	}
	const file = TestbedFolder + "/metadata.json"
	if err := os.WriteFile(m.disk(file), config, 0o644); err != nil {
		return err
	}
	unit := machine.Unit{
		Name: MetadataService + ".service", Description: "EC2 instance metadata",
		Command: []string{machine.PartsDir + "/" + MetadataService, "--hostname", metadataIP, "--port", "80", "--config-file", file},
	}
	if err := m.setUnit(unit); err != nil {
		return err
	}
	if err := m.StartUnit(MetadataService); err != nil {
		return err
	}
	// A machine without Amazon's firmware that is refused a connection there takes that for an answer.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		var sockets []byte // of the machine's network, which is there while a booted node is off
		for _, of := range []string{"tcp", "tcp6"} {
			lines, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", m.outer(), of))
			if err != nil {
				return false, err
			}
			sockets = append(sockets, lines...)
		}
		return bytes.Contains(sockets, []byte(metadataListens)), nil
	})
}

// metadataListens is, in /proc/net/tcp, the service's address and port, with nobody at the other end and the state LISTEN.
const metadataListens = "FEA9FEA9:0050 00000000:0000 0A"

func (n *network) addLoopbackAddress(number int, ip string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[number]
	if p == nil {
		return fmt.Errorf("the machine is not plugged in")
	}
	lo, err := p.handle.LinkByName("lo")
	if err != nil {
		return err
	}
	return p.handle.AddrReplace(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(32, 32)}})
}
