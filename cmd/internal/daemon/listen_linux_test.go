package daemon

import (
	"net"
	"syscall"
	"testing"
	"time"

	"airdispatch/rpc"
)

// TestListenGivesUp: what is accepted has the listener's patience.
func TestListenGivesUp(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var failed error
	if err := raw.Control(func(fd uintptr) { got, failed = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if want := int(rpc.HeartbeatPatience / time.Millisecond); got != want {
		t.Errorf("a connection gives up after %d ms, want %d", got, want)
	}
}
