package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"airdispatch/client"
	"airdispatch/cmd/internal/daemon"
	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/nearby"
	"airdispatch/relay"
	"airdispatch/store/home"
)

// advice is what to do about an error, by the first thing in it that matches.
func advice(err error) string {
	if errors.Is(err, context.Canceled) {
		return ""
	}
	if e, ok := errors.AsType[*advised](err); ok {
		return e.what
	}
	if e, ok := errors.AsType[*client.NameChangedError](err); ok {
		return "ask them in some other way; if it is right, `adctl contacts accept " + e.Name + "`"
	}
	if what := adviceByCause(err); what != "" {
		return what
	}
	for _, a := range []struct {
		is   error
		what string
	}{
		{client.ErrNoIdentity, "make one with `adctl id new`, or choose one with --as"},
		{client.ErrNoAccount, "join a server with `adctl register --server REF --tracker REF`"},
		{client.ErrNobody, "`adctl contacts list` shows who is known by name; somebody else is an address, or name@host"},
		{client.ErrNoKey, "its sender can seal it anew for your keys of today: `adctl edit ID --keep-body`"},
		{home.ErrDamaged, "home.sqlite is damaged: move it away and `adctl register` again; the keys lie beside it, and the server still has the mail"},
		{errKeyFile, "the key file is damaged: take your copy of it, `adctl id import FILE`, or recover with the paper key"},
		{crypto.ErrPassphrase, "try again; the key file is unchanged"},
		{relay.Gone, "what came is true, and may not be all"},
		{nearby.Gone, "what came is true, and may not be all"},
		{relay.NotOnline, "somebody must be listening there, with `adctl listen PROTO`"},
		{relay.UnknownProtocol, "ask what is served there"},
		{relay.Refused, "ask to be allowed there: `adctl listen PROTO --allow ADDR`, or be a contact"},
		{message.Clock, "check the clock of this computer"},
		{message.Disagreement, "compare the address with its owner, then `adctl contacts accept`"},
		{message.Quota, "delete what you no longer need, or ask the server's operator for more room"},
		{message.NeedBundle, "a private tracker answers whom it knows: have its operator list you or your server, then `adctl register`"},
		{message.Unauthenticated, "a private tracker answers whom it knows: act as somebody whom its operator has listed"},
		{message.RateLimited, "wait a minute and try again"},
		{message.Unavailable, "try again later; nothing that was accepted is lost"},
		{message.AlreadyFetched, "a final message cannot be taken back once somebody has it"},
	} {
		if errors.Is(err, a.is) {
			return a.what
		}
	}
	return ""
}

// exitPipe is what a shell says of a program that SIGPIPE has ended.
const exitPipe = 128 + int(syscall.SIGPIPE)

// exitCode is the code that adctl ends with after err.
func exitCode(err error) int {
	if at, ok := errors.AsType[*fs.PathError](err); ok && at.Path == os.Stdout.Name() && errors.Is(at.Err, syscall.EPIPE) {
		return exitPipe
	}
	switch {
	case errors.Is(err, client.ErrNoIdentity), errors.Is(err, client.ErrNoAccount):
		return daemon.ExitFailed
	case errors.Is(err, crypto.ErrPassphrase):
		return daemon.ExitRefused
	}
	if reason, ok := errors.AsType[relay.Reason](err); ok && !errors.Is(err, context.Canceled) {
		return reasonExit(reason)
	}
	for _, code := range []message.Code{message.AlreadyFetched, message.Contract, message.Recalled, message.Expired, message.Disagreement, message.NeedBundle} {
		if errors.Is(err, code) {
			return daemon.ExitRefused
		}
	}
	return daemon.ExitCode(err)
}

// codeName is a stable word for an error in JSON.
func codeName(err error) string {
	code, ok := errors.AsType[message.Code](err)
	reason, live := errors.AsType[relay.Reason](err)
	switch {
	case exitCode(err) == daemon.ExitInterrupted:
		return "interrupted"
	case live:
		return reason.Name()
	case ok:
		return code.Name()
	case errors.Is(err, client.ErrNoIdentity):
		return "no_identity"
	case errors.Is(err, client.ErrNoAccount):
		return "no_account"
	case errors.Is(err, crypto.ErrPassphrase):
		return "wrong_passphrase"
	case errors.Is(err, fs.ErrNotExist):
		return "no_file"
	case exitCode(err) == daemon.ExitUsage:
		return "usage"
	}
	return "failed"
}

// errorJSON is an error with --json, on standard error.
type errorJSON struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Advice  string `json:"advice,omitempty"`
		Exit    int    `json:"exit"`
	} `json:"error"`
}

// complain says what happened and what to do, and returns the exit code.
func (a *app) complain(err error) int {
	if err == nil {
		return daemon.ExitDone
	}
	exit := exitCode(err)
	if exit == exitPipe {
		return exit // as a program that the signal has ended; whoever closed it knows
	}
	text := plain(strings.ReplaceAll(err.Error(), "\n", "; "))
	if !isRefusal(err) {
		// The sentence of this code is for peers; a person has just read what is wrong.
		text = strings.NewReplacer(": "+message.Invalid.Error(), "", "; "+message.Invalid.Error(), "").Replace(text)
	}
	text = strings.TrimSuffix(text, ": "+message.Invalid.Error())
	text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	if exit == daemon.ExitInterrupted {
		text = strings.TrimPrefix(text, "client: ")
	}
	if a.json {
		var e errorJSON
		e.Error.Code, e.Error.Message, e.Error.Advice, e.Error.Exit = codeName(err), text, advice(err), exit
		_ = json.NewEncoder(a.err).Encode(e) // there is nobody to tell that this failed
		return exit
	}
	if exit == daemon.ExitInterrupted && isTerminal(a.err) {
		return exit
	}
	_, _ = fmt.Fprintf(a.err, "adctl: %s\n", visible(text))
	if what := advice(err); what != "" {
		a.sayf("adctl: %s", what)
	}
	return exit
}
