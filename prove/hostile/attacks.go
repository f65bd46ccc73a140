package main

import (
	"context"
	"fmt"
	"net/http"
)

// attacks are all cases but the slow ones.
func (a *arena) attacks() (all []attack) {
	for _, group := range []func() []attack{
		a.cutRequests, a.cutFrames, a.cutHellos, func() []attack { return a.oddRequests(a.targets) }, a.oddFrames, func() []attack { return a.oddHandshakes(a.doors()) }, a.codings, a.bodies, a.accesses, a.paths, a.lies, a.inside, a.screens,
	} {
		all = append(all, group()...)
	}
	return all
}

// against makes a case against each of some ports.
func against(targets []target, name string, do func(ctx context.Context, t target) error) (out []attack) {
	for _, t := range targets {
		out = append(out, attack{t.name + ": " + name, func(ctx context.Context) error { return do(ctx, t) }})
	}
	return out
}

// refused demands that a request had no success; no answer is as good as a
// refusal.
func refused(status int) error {
	if status >= 200 && status < 300 || status == http.StatusSwitchingProtocols {
		return fmt.Errorf("answered with %d", status)
	}
	return nil
}
