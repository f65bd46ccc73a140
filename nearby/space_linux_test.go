package nearby_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"airdispatch/nearby"
)

// inSpace is set for the children of TestNetwork: which part they play, by name.
const inSpace = "AD_TEST_NEARBY"

// ways are the ways of finding each other, each alone and all at once.
var ways = map[string]func(*nearby.Explore){
	"multicast":  func(x *nearby.Explore) { x.Multicast = netip.MustParseAddrPort("235.5.5.11:8001") },
	"multicast6": func(x *nearby.Explore) { x.Multicast6 = netip.MustParseAddrPort("[ff02::6164]:8001") },
	"broadcast":  func(x *nearby.Explore) { x.Broadcast = netip.MustParseAddrPort("255.255.255.255:8001") },
	"all": func(x *nearby.Explore) {
		x.Multicast, x.Broadcast = netip.MustParseAddrPort("235.5.5.11:8001"), netip.MustParseAddrPort("255.255.255.255:8001")
		x.Multicast6 = netip.MustParseAddrPort("[ff02::6164]:8001")
	},
}

// TestNetwork puts peers into network namespaces of their own, joined by two pairs of interfaces, and
// lets them find each other by each way. Nothing of it leaves them.
func TestNetwork(t *testing.T) {
	if part := os.Getenv(inSpace); part != "" {
		t.Skip("this is a part of it")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no program ip: namespaces cannot be made, and multicast and broadcast are not tried")
	}
	// A child that holds the first namespace, whose own child holds the second.
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNetworkParts$", "-test.v")
	cmd.Env = append(os.Environ(), inSpace+"=first")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("without the right to make network namespaces multicast and broadcast are not tried: %v", err)
	}
	if bytes.Contains(out, []byte("no right")) {
		t.Skipf("without the right to make network namespaces multicast and broadcast are not tried:\n%s", out)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestNetworkParts")) {
		t.Errorf("in the namespaces: %v\n%s", err, out)
	}
}

// TestNetworkParts is what TestNetwork runs in namespaces.
func TestNetworkParts(t *testing.T) {
	switch os.Getenv(inSpace) {
	case "":
		t.Skip("TestNetwork runs it")
	case "first":
		first(t)
	case "second":
		second(t)
	}
}

func ip(t *testing.T, words string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput(); err != nil {
		fmt.Println("no right to: ip", words)
		t.Fatalf("ip %s: %v: %s", words, err, out)
	}
}

// first makes the interfaces, starts the second, and looks for it.
func first(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNetworkParts$")
	cmd.Env = append(os.Environ(), inSpace+"=second")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	must(t, err)
	var out, complaints bytes.Buffer // each is written by a goroutine of its own
	said, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		fmt.Println("no right to make a second namespace")
		t.Fatal(err)
	}
	defer func() {
		must(t, in.Close())
		_, _ = io.Copy(&out, said)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the second: %v\n%s%s", err, out.String(), complaints.String())
		}
	}()
	ip(t, "link set lo up")
	for _, n := range []string{"1", "2"} {
		ip(t, "link add a"+n+" type veth peer name b"+n+" netns "+fmt.Sprint(cmd.Process.Pid))
		ip(t, "addr add 10.0."+n+".1/24 broadcast + dev a"+n)
		ip(t, "addr add fd00:"+n+"::1/64 nodad dev a"+n)
		ip(t, "link set a"+n+" up")
	}
	_, err = in.Write([]byte("go\n"))
	must(t, err)
	heard := bufio.NewScanner(said)
	for heard.Scan() && heard.Text() != "ready" {
	}
	for name, way := range ways {
		p := inSpaceNode(t, nearby.ID{1}, way)
		at := "10.0."
		if name == "multicast6" {
			at = "fe80:"
		}
		until(t, name, func() bool { return hasPeer(p, nearby.ID{2}, at) })
		p.stop()
		<-p.stopped
	}
	// One interface alone.
	p := inSpaceNode(t, nearby.ID{1}, func(x *nearby.Explore) {
		ways["all"](x)
		x.Interface = "a2"
	})
	until(t, "by one interface", func() bool { return hasPeer(p, nearby.ID{2}, "") })
	if hasPeer(p, nearby.ID{2}, "10.0.1.") {
		t.Errorf("by a2 found at %+v", p.Peers())
	}
	spoofed(t, p, in)
	old(t)
}

// hasPeer reports whether a peer was heard, at a place that begins so.
func hasPeer(p *spaceNode, id nearby.ID, at string) bool {
	for _, one := range p.Peers() {
		if one.ID == id && strings.HasPrefix(strings.TrimPrefix(one.Place.String(), "["), at) {
			return true
		}
	}
	return false
}

// spoofed has the second send from a source that lies on no network of this host: the datagram arrives,
// and does not count.
func spoofed(t *testing.T, p *spaceNode, second io.Writer) {
	t.Helper()
	ip(t, "route add 198.51.100.7/32 dev a2")
	arrives, err := net.ListenPacket("udp4", "10.0.2.1:9999")
	must(t, err)
	defer arrives.Close()
	_, err = second.Write([]byte("spoof\n"))
	must(t, err)
	must(t, arrives.SetReadDeadline(time.Now().Add(patience)))
	_, from, err := arrives.ReadFrom(make([]byte, 100))
	must(t, err)
	if !strings.HasPrefix(from.String(), "198.51.100.7:") {
		t.Fatalf("came from %s", from)
	}
	until(t, "the datagram after", func() bool { return hasPeer(p, nearby.ID{67}, "10.0.2.2") })
	if hasPeer(p, nearby.ID{66}, "") {
		t.Error("a datagram of another network counted")
	}
}

// spoof sends what spoofed waits for.
func spoof(t *testing.T) {
	ip(t, "addr add 198.51.100.7/32 dev lo")
	for _, one := range []struct {
		from, to string
		id       byte
	}{{"198.51.100.7:0", "10.0.2.1:8001", 66}, {"198.51.100.7:0", "10.0.2.1:9999", 66}, {"10.0.2.2:0", "10.0.2.1:8001", 67}} {
		c, err := net.ListenPacket("udp4", one.from)
		must(t, err)
		to, err := net.ResolveUDPAddr("udp4", one.to)
		must(t, err)
		_, err = c.WriteTo(oldDatagram(nearby.ID{one.id}, 1), to)
		must(t, errors.Join(err, c.Close()))
	}
}

// old is a peer of P2P v0.4 that listens to its group on the same host: it hears ours announce
// themselves, in a form that it reads.
func old(t *testing.T) {
	t.Helper()
	face, err := net.InterfaceByName("a2")
	must(t, err)
	group, err := net.ListenMulticastUDP("udp4", face, &net.UDPAddr{IP: net.IPv4(235, 5, 5, 11), Port: 8001})
	must(t, err)
	defer group.Close()
	must(t, group.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 2048)
	for {
		n, _, err := group.ReadFromUDP(b)
		must(t, err)
		if id := field(t, field(t, b[:n], 1), 1); bytes.Equal(id, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) {
			if n > 1024 || field(t, b[:n], 2) == nil {
				t.Errorf("announced %x", b[:n])
			}
			return
		}
	}
}

// second waits for its interfaces, and is there until the first has ended.
func second(t *testing.T) {
	told := bufio.NewScanner(os.Stdin)
	told.Scan()
	ip(t, "link set lo up")
	for _, n := range []string{"1", "2"} {
		ip(t, "addr add 10.0."+n+".2/24 broadcast + dev b"+n)
		ip(t, "addr add fd00:"+n+"::2/64 nodad dev b"+n)
		ip(t, "link set b"+n+" up")
	}
	p := inSpaceNode(t, nearby.ID{2}, func(x *nearby.Explore) {
		ways["all"](x)
		x.Period = time.Hour // it is found by its answers
	})
	until(t, "it is there", func() bool { return answers(t) })
	fmt.Println("ready")
	for told.Scan() { // until it is closed
		spoof(t)
	}
	if !hasPeer(p, nearby.ID{1}, "") {
		b, _ := json.Marshal(p.Peers())
		t.Errorf("the first was not heard: %s", b)
	}
}

// spaceNode is a node in a namespace.
type spaceNode struct {
	*nearby.Node
	stop    context.CancelFunc
	stopped chan struct{}
}

func inSpaceNode(t *testing.T, id nearby.ID, explore func(*nearby.Explore)) *spaceNode {
	t.Helper()
	c := nearby.Config{
		ID: id, Port: 8001, Visible: true, Rand: rand.Reader, Dial: (&net.Dialer{}).DialContext,
		Explore: nearby.Explore{Period: 50 * time.Millisecond, Port: 8001},
		Listen: func(ctx context.Context, network, address string) (net.PacketConn, error) {
			return (&net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			}}).ListenPacket(ctx, network, address)
		},
	}
	explore(&c.Explore)
	n, err := nearby.New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &spaceNode{Node: n, stop: cancel, stopped: make(chan struct{})}
	go func() {
		defer close(p.stopped)
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.stopped
	})
	return p
}

// answers reports whether a node answers on this host, so that it has announced itself.
func answers(t *testing.T) bool {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer c.Close()
	_, err = c.WriteTo(oldDatagram(nearby.ID{99}, 1), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8001})
	must(t, err)
	must(t, c.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, _, err = c.ReadFrom(make([]byte, 100))
	return err == nil
}
