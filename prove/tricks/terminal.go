package tricks

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Texts are texts that do something to a terminal, or deceive who looks at it.
func Texts() []string {
	return []string{
		"\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;Y293\x07", "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\", "\x1b[31mred\x1b[0m", "\x1b[8mhidden", "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1b[c", "\x1b[21t", "\x1bc", "\x1b[?1049h", "\x1b_Gf=24\x1b\\", "\x1b^x\x1b\\", "\x1bX\x1b\\", "\x1b[1;1Hfrom: you",
		"\u009b2J", "\u009d0;title\u009c", "\u0090x\u009c", "\u0085next", "\u0080\u0081", "\x07\x07\x07", "abc\b\b\bxyz", "real\rfake", "\x0bdown", "\x0cpage", "\x0eshift\x0f", "\x00zero", "\x7fdelete", "\x05", "\x16\x17\x18\x1a",
		"\u202egpj.exe", "\u202dx", "\u2066x\u2069", "\u2067x", "\u2068x", "\u200eleft\u200f", "\u061carab", "zero\u200bwidth", "join\u200der", "\ufeffbom", "soft\u00adhyphen", "fill\u3164er", "\u2028line\u2029", "\u2060x\u2061", "\ufff9a\ufffab\ufffb", "\U000e0041tag", "\u180e", "\u115f\u1160", "\u034f",
	}
}

// Shown runs a program on a terminal and returns what it shows. The command has
// its SysProcAttr set.
func Shown(cmd *exec.Cmd) (string, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer master.Close()
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return "", err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := errors.Join(cmd.Start(), slave.Close()); err != nil {
		return "", err
	}
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // it ends with an error when the program closes the terminal
		read <- string(b)
	}()
	err = cmd.Wait()
	return <-read, err
}
