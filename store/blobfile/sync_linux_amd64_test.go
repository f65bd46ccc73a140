package blobfile_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"airdispatch/crypto"
	"airdispatch/store"
	"airdispatch/store/blobfile"
)

// traced is the environment variable that has this program write a blob below a
// directory and end.
const traced = "BLOBFILE_TRACED"

// TestDirectoriesAreSynced: a blob is there when its names are on the disk too.
// The test watches which files and directories a process syncs that writes one,
// because no file system that a test can have forgets what was not synced.
func TestDirectoriesAreSynced(t *testing.T) {
	data := []byte("some bytes")
	id, size, err := crypto.BlobID(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv(traced); dir != "" {
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := blobfile.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), store.BlobRef{ID: id, Size: size}, 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		return
	}
	name := hex.EncodeToString(id[:])
	dir := t.TempDir()
	got := calls(t, dir)
	// What is made in the root is a name there, synced before anything depends on it.
	want := []string{"sync .", "sync part/" + name, "sync .", "rename", "sync " + name[:2], "sync part"}
	if !slices.Equal(got, want) {
		t.Errorf("the calls were\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// calls runs this test once more, as a process that writes, and lists what it
// synced below dir and when it renamed something, in order.
func calls(t *testing.T, dir string) []string {
	t.Helper()
	// Only the thread that began to trace may go on with it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestDirectoriesAreSynced$")
	cmd.Env = append(os.Environ(), traced+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Skipf("this machine lets nobody trace a process: %v", err)
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
		t.Fatal(err)
	}
	// What threads it makes is traced too, and stops at calls can be told from signals.
	if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACECLONE|syscall.PTRACE_O_TRACESYSGOOD); err != nil {
		t.Fatal(err)
	}
	var out []string
	for thread, signal := pid, 0; ; {
		// A thread may have ended meanwhile, which the next wait tells.
		_ = syscall.PtraceSyscall(thread, signal)
		var err error
		if thread, err = syscall.Wait4(-1, &status, syscall.WALL, nil); err != nil {
			t.Fatal(err)
		}
		signal = 0
		switch {
		case status.Stopped() && status.StopSignal() == syscall.SIGTRAP|0x80:
			out = append(out, call(thread, dir)...)
		case status.Stopped() && status.StopSignal() != syscall.SIGTRAP && status.StopSignal() != syscall.SIGSTOP:
			signal = int(status.StopSignal())
		case thread == pid && status.Exited():
			if status.ExitStatus() != 0 {
				t.Fatalf("the process that writes ended with %d", status.ExitStatus())
			}
			return out
		}
	}
}

// call is the system call that a thread is about to make, if it is one of those
// that matter.
func call(thread int, dir string) []string {
	const syscallInfo, entry = 0x420e, 1
	var info struct {
		op   uint8
		_    [23]byte
		call uint64
		args [6]uint64
		_    [16]byte
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, syscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != entry {
		return nil
	}
	switch info.call {
	case syscall.SYS_RENAMEAT:
		return []string{"rename"}
	case syscall.SYS_FSYNC, syscall.SYS_FDATASYNC:
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", thread, info.args[0]))
		if err != nil {
			return nil
		}
		if rel, err := filepath.Rel(dir, target); err == nil && filepath.IsLocal(rel) {
			return []string{"sync " + rel}
		}
	}
	return nil
}
