package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process occupies, and the most that it ever did, in MiB.
func Memory(pid int) (now, most float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory: %w", err)
	}
	read := func(name string) float64 {
		_, rest, _ := strings.Cut(string(b), name+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			err = fmt.Errorf("memory: no %s", name)
			return 0
		}
		kib, bad := strconv.ParseFloat(fields[0], 64)
		err = errors.Join(err, bad)
		return kib / 1024
	}
	return read("VmRSS"), read("VmHWM"), err
}

// Metrics are some of a server's, by name, from where it shows them (host:port).
func Metrics(ctx context.Context, at string, names ...string) ([]int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	out := make([]int, len(names))
	for n, name := range names {
		_, rest, _ := strings.Cut(string(b), "\n"+name+" ")
		line, _, _ := strings.Cut(rest, "\n")
		x, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return nil, fmt.Errorf("no metric %s", name)
		}
		out[n] = int(x)
	}
	return out, nil
}
