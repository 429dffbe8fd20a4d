package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network is a bridge in a network namespace of its own, the hub. No process lives there: the namespace exists as long as
// this process holds it open. Every testbed has the same addresses.
//
// All neighbours are entered by hand and stay. With ARP, a machine whose link is cut would soon say "no route to host";
// in the field, behind a router, packets just vanish.
type network struct {
	ns     netns.NsHandle
	handle *netlink.Handle
	bridge netlink.Link

	mu    sync.Mutex
	next  int
	ports map[int]*port // by number
	hubs  []address     // addresses of the hub itself
	mac   net.HardwareAddr
}

// address is one seat in the network: number n has 10.77.x.y, fd77::n and a link address made of it.
type address struct{ v4, v6 netip.Addr }

// port is a machine's link to the bridge.
type port struct {
	number int
	addr   address
	ns     netns.NsHandle
	handle *netlink.Handle
	outer  netlink.Link // the hub's end
	inner  netlink.Link // eth0
}

const firstMachine = 10

func addressOf(number int) address {
	hi, lo := byte(number>>8), byte(number)
	return address{netip.AddrFrom4([4]byte{10, 77, hi, lo}), netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 14: hi, 15: lo})}
}

func (a address) mac() net.HardwareAddr {
	b := a.v4.As4()
	return net.HardwareAddr{0x02, 0x77, b[0], b[1], b[2], b[3]}
}

func (a address) all() []netip.Addr { return []netip.Addr{a.v4, a.v6} }

func newNetwork() (*network, error) {
	ns, err := newNetNS()
	if err != nil {
		return nil, fmt.Errorf("making the hub's network namespace: %w", err)
	}
	n := &network{ns: ns, next: firstMachine, ports: map[int]*port{}}
	if err := n.setUp(); err != nil {
		n.close()
		return nil, fmt.Errorf("setting up the hub: %w", err)
	}
	return n, nil
}

func (n *network) setUp() error {
	var err error
	if n.handle, err = netlink.NewHandleAt(n.ns); err != nil {
		return err
	}
	if err := loopbackUp(n.handle); err != nil {
		return err
	}
	// A new namespace inherits the host's setting; BlackholeIP relies on this one.
	if err := setSysctl(n.ns, "net/ipv4/ip_forward", "0"); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "br0"
	// A fixed address: a bridge without one changes it with its first port.
	n.mac = addressOf(1).mac()
	attrs.HardwareAddr = n.mac
	if err := n.handle.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("adding the bridge: %w", err)
	}
	if n.bridge, err = n.handle.LinkByName("br0"); err != nil {
		return err
	}
	if err := n.handle.LinkSetUp(n.bridge); err != nil {
		return err
	}
	_, err = n.addHubAddress(1)
	return err
}

func (n *network) close() {
	for _, p := range n.ports {
		p.close()
	}
	if n.handle != nil {
		n.handle.Close()
	}
	n.ns.Close()
}

func (p *port) close() {
	if p.handle != nil {
		p.handle.Close()
	}
	if p.ns.IsOpen() {
		p.ns.Close()
	}
}

// reserve gives out a seat in the network.
func (n *network) reserve() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	return n.next - 1
}

// addHubAddress gives the hub, where this process dials and listens, one more address.
func (n *network) addHubAddress(number int) (address, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr := addressOf(number)
	if err := addAddresses(n.handle, n.bridge, addr); err != nil {
		return addr, err
	}
	n.hubs = append(n.hubs, addr)
	for _, p := range n.ports {
		if err := addNeighbour(p.handle, p.inner, addr, n.mac); err != nil {
			return addr, err
		}
	}
	return addr, nil
}

// plug connects the machine with the given process 1 to a seat.
func (n *network) plug(number, pid int, sysctls map[string]string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.ports[number]; old != nil {
		n.unplugLocked(old)
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("opening its network namespace: %w", err)
	}
	p := &port{number: number, addr: addressOf(number), ns: ns}
	if err := n.connect(p); err != nil {
		p.close()
		return fmt.Errorf("plugging it into the network: %w", err)
	}
	for path, value := range sysctls {
		if err := setSysctl(ns, path, value); err != nil {
			p.close()
			return err
		}
	}
	n.ports[number] = p
	return nil
}

func (n *network) unplugLocked(p *port) {
	_ = n.handle.LinkDel(p.outer) // gone with the machine, as a rule
	p.close()
	delete(n.ports, p.number)
}

func (n *network) connect(p *port) error {
	var err error
	if p.handle, err = netlink.NewHandleAt(p.ns); err != nil {
		return err
	}
	if err := loopbackUp(p.handle); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("port%d", p.number)
	// After a reboot the old pair may take a moment to go.
	if old, err := n.handle.LinkByName(attrs.Name); err == nil {
		_ = n.handle.LinkDel(old)
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: p.addr.mac(), PeerNamespace: netlink.NsFd(int(p.ns))}
	if err := n.handle.LinkAdd(veth); err != nil {
		return fmt.Errorf("adding a veth pair: %w", err)
	}
	if p.outer, err = n.handle.LinkByName(attrs.Name); err != nil {
		return err
	}
	if err := n.handle.LinkSetMaster(p.outer, n.bridge); err != nil {
		return err
	}
	if err := n.handle.LinkSetUp(p.outer); err != nil {
		return err
	}
	if p.inner, err = p.handle.LinkByName("eth0"); err != nil {
		return err
	}
	if err := addAddresses(p.handle, p.inner, p.addr); err != nil {
		return err
	}
	if err := p.handle.LinkSetUp(p.inner); err != nil {
		return err
	}
	// kubeadm and kubelet find the machine's own address by its default route.
	hub := addressOf(1)
	for _, gateway := range hub.all() {
		if err := p.handle.RouteReplace(&netlink.Route{LinkIndex: p.inner.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("adding the default route: %w", err)
		}
	}
	return n.introduce(p)
}

// introduce enters a new machine in everybody's neighbour table, and everybody in its own.
func (n *network) introduce(p *port) error {
	if err := addNeighbour(n.handle, n.bridge, p.addr, p.addr.mac()); err != nil {
		return err
	}
	for _, hub := range n.hubs {
		if err := addNeighbour(p.handle, p.inner, hub, n.mac); err != nil {
			return err
		}
	}
	for _, other := range n.ports {
		if err := addNeighbour(p.handle, p.inner, other.addr, other.addr.mac()); err != nil {
			return err
		}
		if err := addNeighbour(other.handle, other.inner, p.addr, p.addr.mac()); err != nil && !errors.Is(err, unix.ENODEV) {
			return err // ENODEV: that machine is just going down
		}
	}
	return nil
}

// setConnected puts a machine's port on the bridge or takes it off: then its packets vanish, both ways.
func (n *network) setConnected(number int, connected bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[number]
	if p == nil {
		return errors.New("the machine is not plugged in")
	}
	if connected {
		return n.handle.LinkSetMaster(p.outer, n.bridge)
	}
	return n.handle.LinkSetNoMaster(p.outer)
}

func loopbackUp(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.LinkSetUp(lo)
}

func addAddresses(h *netlink.Handle, link netlink.Link, addr address) error {
	v4 := &netlink.Addr{IPNet: &net.IPNet{IP: addr.v4.AsSlice(), Mask: net.CIDRMask(16, 32)}}
	// Without duplicate detection a v6 address works at once, and nobody else can have it.
	v6 := &netlink.Addr{IPNet: &net.IPNet{IP: addr.v6.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}
	for _, a := range []*netlink.Addr{v4, v6} {
		if err := h.AddrReplace(link, a); err != nil {
			return fmt.Errorf("adding address %s: %w", a, err)
		}
	}
	return nil
}

func addNeighbour(h *netlink.Handle, link netlink.Link, addr address, mac net.HardwareAddr) error {
	for _, ip := range addr.all() {
		neigh := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac}
		if err := h.NeighSet(neigh); err != nil {
			return fmt.Errorf("entering neighbour %s: %w", ip, err)
		}
	}
	return nil
}

// newNetNS makes a network namespace that lives as long as the returned handle is open.
func newNetNS() (netns.NsHandle, error) {
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{netns.None(), err}
			return
		}
		ns, err := netns.Get()
		made <- result{ns, err}
	}()
	r := <-made
	return r.ns, r.err
}

// inNS runs f on a thread inside a network namespace. Sockets made there stay there; whatever f starts in other
// goroutines is not there.
func inNS(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer before.Close()
		if err := netns.Set(ns); err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = f()
		if netns.Set(before) == nil {
			runtime.UnlockOSThread() // else the thread is tainted and ends here
		}
		done <- err
	}()
	return <-done
}

// dial connects from inside a namespace. The address must be an IP: then there is one attempt, on this very thread.
func dial(ctx context.Context, ns netns.NsHandle, proto, addr string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(addr); err != nil {
		return nil, fmt.Errorf("dialing inside the testbed wants IP:port, not %q", addr)
	}
	var conn net.Conn
	err := inNS(ns, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, proto, addr)
		return err
	})
	return conn, err
}

// DialContext connects to a machine from the hub.
func (tb *Testbed) DialContext(ctx context.Context, proto, addr string) (net.Conn, error) {
	return dial(ctx, tb.network.ns, proto, addr)
}

// Listen listens in the hub, where every machine can reach it; "" is any free port of the hub's first address.
func (tb *Testbed) Listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = net.JoinHostPort(tb.HubIP(), "0")
	}
	var l net.Listener
	err := inNS(tb.network.ns, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening in the testbed: %w", err)
	}
	return l, nil
}

// HubIP is the hub's first address.
func (tb *Testbed) HubIP() string { return addressOf(1).v4.String() }

// NewHubIP gives the hub one more address (an IPv4 and an IPv6), for a server that should not share one.
func (tb *Testbed) NewHubIP() (v4, v6 string, err error) {
	addr, err := tb.network.addHubAddress(tb.network.reserve())
	return addr.v4.String(), addr.v6.String(), err
}

// UnusedIP is an address on the network that no machine has: "no route to host" after some seconds.
func (tb *Testbed) UnusedIP() string { return addressOf(tb.network.reserve()).v4.String() }

// BlackholeIP is an address behind the hub, which forwards nothing: packets to it vanish silently.
func (tb *Testbed) BlackholeIP() string { return "10.99.0.1" }

// setSysctl sets a net.* variable in a namespace, by its path below /proc/sys.
func setSysctl(ns netns.NsHandle, path, value string) error {
	return inNS(ns, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
}
