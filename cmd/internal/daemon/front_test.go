package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

// get fetches a plain page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestHealthAndMetrics(t *testing.T) {
	dir, address := newDir(t, "--tls", "off")
	metrics := freePort(t)
	serving(t, dir, address, "--metrics", metrics, "--log-format", "json")
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, "http://"+address+path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if _, body := get(t, "http://"+metrics+"/metrics"); !strings.Contains(body, "airdispatch_panics_total 0") || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics %.200q", body)
	}
	if status, _ := get(t, "http://"+address+"/metrics"); status == http.StatusOK {
		t.Error("metrics are served to everybody")
	}
	if status, _ := get(t, "http://"+metrics+"/metrics/"+strings.Repeat("x", 2*maxMetricsHeader)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long path: %d", status)
	}
	if status, _ := get(t, "http://"+metrics+"/"); status != http.StatusNotFound {
		t.Errorf("another path: %d", status)
	}
}

func TestNotReady(t *testing.T) {
	dir, _ := newDir(t, "--tls", "off")
	f, err := opens(t, dir).Front(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx) }()
	url := "http://" + string(f.site.Settings.Listen) + "/readyz"
	if status, body := get(t, url); status != http.StatusServiceUnavailable || body != "starting\n" {
		t.Errorf("before it is ready: %d %q", status, body)
	}
	f.Ready()
	if status, _ := get(t, url); status != http.StatusOK {
		t.Errorf("after it is ready: %d", status)
	}
	f.Busy("moving")
	if status, body := get(t, url); status != http.StatusServiceUnavailable || body != "moving\n" {
		t.Errorf("while it is busy: %d %q", status, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTogether: one part that fails ends the others, and all are waited for.
func TestTogether(t *testing.T) {
	fault := errors.New("a fault")
	ended := false
	err := Together(t.Context(), func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return nil
	}, func(context.Context) error { return fault })
	if !errors.Is(err, fault) || !ended {
		t.Errorf("%v, ended %t", err, ended)
	}
}

// pair writes a certificate and its key.
func pair(t *testing.T, cert, key string) {
	t.Helper()
	c, k, err := crypto.NewCertificate(rand.Reader, []string{"127.0.0.1"}, time.Now().Add(-time.Hour), time.Now().Add(60*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(cert, c, 0o600), os.WriteFile(key, k, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateFiles: new files are shown soon, half new ones never.
func TestCertificateFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	pair(t, cert, key)
	synctest.Test(t, func(t *testing.T) {
		s := &Settings{TLS: TLSFiles, TLSCert: cert, TLSKey: key}
		c, err := openCertificate(dir, s, newLog(io.Discard, DefaultSettings().Log))
		if err != nil {
			t.Fatal(err)
		}
		shown := func() string {
			t.Helper()
			p, err := c.tls.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return string(p.Leaf.Raw)
		}
		first := shown()
		pair(t, cert, key)
		// Files have the real clock's times, so the second pair needs one of its own.
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(cert, later, later); err != nil {
			t.Fatal(err)
		}
		if shown() != first {
			t.Error("the files were looked at again at once")
		}
		time.Sleep(reloadEvery + time.Second)
		second := shown()
		if second == first {
			t.Error("the new certificate is not shown")
		}
		if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(reloadEvery + time.Second)
		if shown() != second {
			t.Error("a broken file took the certificate away")
		}
		if c.pin != [32]byte{} {
			t.Error("a certificate that somebody else renews was pinned")
		}
	})
}

func TestOwnRoute(t *testing.T) {
	dir, _ := newDir(t)
	s := opens(t, dir)
	first, err := s.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	route := first.Identity().Route
	if again.Identity().Route.ID != route.ID {
		t.Error("the route was signed again without need")
	}
	if !route.Hosts[0].Pinned() || route.Expires.Sub(route.Time) != routeLife {
		t.Errorf("route %+v", route)
	}
	now := time.Now()
	if err := again.Renew(t.Context(), now.Add(6*24*time.Hour)); err != nil || again.Identity().Route.ID != route.ID {
		t.Errorf("after 6 days: %v, route %v", err, again.Identity().Route.Pair)
	}
	if err := again.Renew(t.Context(), now.Add(8*24*time.Hour)); err != nil || again.Identity().Route.Pair.Compare(route.Pair) <= 0 {
		t.Errorf("after 8 days: %v, route %v", err, again.Identity().Route.Pair)
	}
	renewed := again.Identity().Route
	s.Settings.URL = "https://127.0.0.1:10"
	moved, err := s.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := moved.Identity().Route; got.Hosts[0].URL != "https://127.0.0.1:10" || got.Pair.Compare(renewed.Pair) <= 0 {
		t.Errorf("after the move: %+v", got)
	}
}

// TestKeep: a failure is tried again soon, and a success again every day.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, _ := newDir(t)
		s := opens(t, dir)
		o, err := s.Own(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began, calls, successes := time.Now(), 0, 0
		o.Keep(ctx, func(_ context.Context, p *wirev1.Publication) error {
			if _, err := message.OpenIdentity(crypto.Single{}, p.Subject, nil); err != nil {
				t.Error(err)
			}
			switch calls++; {
			case calls <= 3:
				return message.Unavailable
			case calls == 13:
				cancel()
			}
			return nil
		}, func() { successes++ })
		if calls != 13 || successes != 10 {
			t.Errorf("%d calls, %d successes", calls, successes)
		}
		if days := time.Since(began).Hours() / 24; days < 9 || days > 9.1 {
			t.Errorf("nine waits took %.2f days", days)
		}
		if age := time.Since(o.Identity().Route.Time); age > renewAfter+publishEvery {
			t.Errorf("the route is %s old", age)
		}
	})
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{Usage("what: %w", message.Invalid), 2},
		{fmt.Errorf("x: %w", message.NotFound), 3},
		{fmt.Errorf("x: %w", message.Denied), 4},
		{message.RateLimited, 4},
		{fmt.Errorf("x: %w", message.Unavailable), 5},
		{message.BadSignature, 6},
		{fmt.Errorf("x: %w", errDamaged), 6},
		{context.Canceled, 130},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v ends with %d, want %d", c.err, got, c.want)
		}
	}
}
