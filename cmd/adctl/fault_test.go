package main

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// delivered checks that a letter with a subject, and the body in the file
// letter, came through once and no more: the sender has sent one, the reader
// gets one, and the sender hears that it was fetched.
//
//	delivered SUBJECT ann bob
func delivered(ts *testscript.TestScript, _ bool, args []string) {
	subject, from, to := args[0], args[1], args[2]
	pattern := `\t` + subject + `$`
	eventually(ts, false, []string{pattern, "adctl", "--home", to, "inbox"})
	id := only(ts, subject)
	must(ts, "adctl", "--home", from, "sent")
	if sent := only(ts, subject); sent != id {
		ts.Fatalf("%s was sent as %s and came as %s", subject, sent, id)
	}
	must(ts, "adctl", "--home", to, "read", id)
	if got, want := ts.ReadFile("stdout"), ts.ReadFile("letter"); got != want {
		ts.Fatalf("%s says %q, want %q", subject, got, want)
	}
	eventually(ts, false, []string{`\tfetched\t`, "adctl", "--home", from, "status", id})
	must(ts, "adctl", "--home", from, "drafts", "list")
	if left := ts.ReadFile("stdout"); left != "" {
		ts.Fatalf("drafts are left: %s", left)
	}
	ts.Setenv("ID", id)
}

// only is the id of the one message with a subject in the list that was printed.
func only(ts *testscript.TestScript, subject string) string {
	var ids []string
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if cells[len(cells)-1] == subject {
			ids = append(ids, cells[0])
		}
	}
	if len(ids) != 1 {
		ts.Fatalf("%d messages have the subject %s", len(ids), subject)
	}
	return ids[0]
}

// once checks that of letters that may or may not have been sent none came
// twice, and that what the sender has sent is what the reader gets:
//
//	once ann bob SUBJECT…
func once(ts *testscript.TestScript, _ bool, args []string) {
	from, to := args[0], args[1]
	must(ts, "adctl", "--home", from, "sent")
	sent := ts.ReadFile("stdout")
	for _, subject := range args[2:] {
		switch strings.Count(sent, "\t"+subject+"\n") {
		case 0:
		case 1:
			delivered(ts, false, []string{subject, from, to})
		default:
			ts.Fatalf("%s was sent more than once:\n%s", subject, sent)
		}
	}
}

// stab ends a command by SIGKILL a while after it began.
func stab(ts *testscript.TestScript, _ bool, args []string) {
	after, err := time.ParseDuration(args[0])
	ts.Check(err)
	_, program := command(ts, args)
	p := launch(ts, "stabbed", program)
	select {
	case <-time.After(after):
		p.kill()
	case <-p.done:
	}
}

// interruptSoon interrupts a program in the background a moment after it began;
// it ends with the code, or was done already.
func interruptSoon(ts *testscript.TestScript, _ bool, args []string) {
	p := named(ts, args)
	select {
	case <-time.After(200 * time.Millisecond):
		if err := p.cmd.Process.Signal(os.Interrupt); errors.Is(err, os.ErrProcessDone) {
			return
		}
		if got := p.end(ts); got != 0 && strconv.Itoa(got) != args[1] {
			text, _ := p.out.now()
			ts.Fatalf("%s ended with %d, want %s:\n%s", args[0], got, args[1], text)
		}
	case <-p.done:
	}
}

// retried runs a command that may have been done already, before an answer was
// lost: it ends with 0, or is refused.
func retried(ts *testscript.TestScript, _ bool, args []string) {
	if got := code(ts, args); got != 0 && got != 4 {
		ts.Fatalf("%s ended with %d", strings.Join(args, " "), got)
	}
}

// tally checks that every letter that one has sent with a subject that matches
// comes to another, once: tally ann bob PATTERN
func tally(ts *testscript.TestScript, _ bool, args []string) {
	from, to := args[0], args[1]
	subject := regexp.MustCompile(`(?m)^(\S+)\t.*\t` + args[2] + `$`)
	must(ts, "adctl", "--home", from, "sent")
	sent := subject.FindAllStringSubmatch(ts.ReadFile("stdout"), -1)
	if len(sent) == 0 {
		ts.Fatalf("nothing with a subject like %s was sent", args[2])
	}
	for _, one := range sent {
		eventually(ts, false, []string{one[1], "adctl", "--home", to, "inbox"})
	}
	if got := subject.FindAllString(ts.ReadFile("stdout"), -1); len(got) != len(sent) {
		ts.Fatalf("%d were sent and %d came", len(sent), len(got))
	}
}
