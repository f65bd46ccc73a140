// Compare measures Airdispatch beside its limits and its peers and writes the
// tables of docs/performance.md.
//
//	go run ./cmd/compare -memory
//	go run ./cmd/compare [-only submit,pull] [-case words] [-rounds 5] [-time 2s] [-profile dir]
//
// Tables go to stdout, progress to stderr. Everything runs on loopback, in this
// process and in a temporary directory, and ends by itself.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"airdispatch/bench"
)

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "run these groups, by name, with commas between; all where empty")
	flag.StringVar(&o.words, "case", "", "of these groups, run the cases whose name contains this")
	flag.IntVar(&o.rounds, "rounds", 5, "how often every case is run")
	flag.DurationVar(&o.span, "time", 2*time.Second, "how long every case runs in a round")
	flag.StringVar(&o.profile, "profile", "", "write processor profiles of the measured parts into this directory")
	flag.StringVar(&o.dir, "dir", "", "work below this directory instead of the system's temporary one")
	child := flag.String("child", "", "serve until stdin ends: what -memory starts")
	memory := flag.Bool("memory", false, "measure the memory of idle servers and of their watchers instead")
	list := flag.Bool("list", false, "list the groups and their cases")
	flag.Parse()
	if *list {
		for _, g := range bench.Groups() {
			fmt.Println(g.Name)
			for _, c := range g.Cases {
				fmt.Println("   ", c.Name)
			}
		}
		return
	}
	if *child != "" || *memory {
		var err error
		if *memory {
			err = bench.Memory(os.Args[0], o.dir, os.Stdout)
		} else {
			err = bench.Serve(*child, o.dir, os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "compare:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type options struct {
	only, words, profile, dir string
	rounds                    int
	span                      time.Duration
}

// run measures the chosen groups. A group that cannot be measured is reported
// at the end and does not keep the others from being.
func run(o options, out, said io.Writer) error {
	dir, err := os.MkdirTemp(o.dir, "airdispatch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "Measured %s: %s, %d cores, %s/%s, %d rounds of %s a case.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, o.rounds, o.span)
	var failed []string
	for _, g := range bench.Groups() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), g.Name) {
			continue
		}
		g.Cases = slices.DeleteFunc(g.Cases, func(c bench.Case) bool { return !strings.Contains(c.Name, o.words) })
		r, err := g.Run(bench.Options{Dir: dir, Rounds: o.rounds, Span: o.span, Said: said, Around: profiling(o.profile, g.Name)})
		if err != nil {
			fmt.Fprintln(said, err)
			failed = append(failed, err.Error())
			continue
		}
		r.Markdown(out)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d groups failed: %s", len(failed), strings.Join(failed, "; "))
	}
	return nil
}

// profiling writes a processor profile of the measured part of each case, where
// a directory is given; the last round's stays.
func profiling(dir, group string) func(bench.Case) func() {
	if dir == "" {
		return nil
	}
	return func(c bench.Case) func() {
		name := strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(group + "-" + c.Name)
		f, err := os.Create(filepath.Join(dir, name+".pprof"))
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "compare: profile:", err)
			return func() {}
		}
		return func() {
			pprof.StopCPUProfile()
			_ = f.Close()
		}
	}
}
