package rpc_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"airdispatch/crypto"
	"airdispatch/message"
	"airdispatch/rpc"
	wirev1 "airdispatch/wire/airdispatch/v1"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// tracker answers Lookup about itself, and refuses everything else.
type tracker struct {
	keys  *message.Keyring
	hosts []message.Host
}

// Lookup is the one call of a first contact.
func (s *tracker) Lookup(_ context.Context, req *wirev1.LookupRequest) (*wirev1.LookupResponse, error) {
	if len(req.GetQueries()) != 1 || len(req.GetQueries()[0].GetAddress()) != 0 {
		return nil, fmt.Errorf("tracker: lookup: %w", message.NotFound)
	}
	now := time.Now()
	route, err := message.SignRoute(message.Route{Pair: message.Pair{Route: 1}, Time: now, Expires: now.Add(time.Hour), Hosts: s.hosts}, s.keys.Chain, s.keys.Signer)
	if err != nil {
		return nil, err
	}
	self := &message.Identity{Chain: s.keys.Chain, Route: route}
	answer, err := message.SignAnswer(message.Answer{Tracker: s.keys.Address(), Time: now, Found: true, Subject: self}, s.keys.Signer)
	if err != nil {
		return nil, err
	}
	return &wirev1.LookupResponse{Results: []*wirev1.LookupResult{{Answers: []*wirev1.Signed{answer}}}}, nil
}

// A tracker with a self-signed certificate, and somebody who has its reference.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	url := "https://" + listener.Addr().String()
	certPEM, keyPEM, err := crypto.NewCertificate(rand.Reader, []string{"127.0.0.1"}, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		log.Fatal(err)
	}
	paper, err := crypto.RandomBytes(rand.Reader, 32)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := message.NewKeyring(message.RoleTracker, paper, time.Now(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}

	// The tracker answers.
	server := rpc.NewServer(rpc.ServerConfig{Listener: listener, TLS: rpc.ServerTLS(cert)})
	answers := &tracker{keys: keys, hosts: []message.Host{{URL: url, Pin: crypto.Pin(cert.Leaf)}}}
	server.Mount(wirev1connect.NewDirectoryHandler(answers, rpc.Options(nil)...))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx) }()

	// Somebody asks. Loopback is opened for the example; without that the guard
	// refuses it.
	loopback, _ := rpc.PrivateRange("localhost")
	client := rpc.NewClient(rpc.Config{Dial: rpc.Guard{Private: []netip.Prefix{loopback}}.Dial, Verifier: crypto.Single{}})
	peer, _, err := client.Open(ctx, message.Reference{URL: url, Address: keys.Address()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the tracker is who it should be:", peer.Address() == keys.Address())

	somebody := make([]byte, message.AddressSize)
	_, err = peer.Directory().Lookup(ctx, &wirev1.LookupRequest{Queries: []*wirev1.Query{{Address: somebody}}})
	fmt.Println("somebody:", message.CodeOf(err), errors.Is(err, message.NotFound))

	client.Close()
	stop()
	fmt.Println("drained:", <-done)
	// Output:
	// the tracker is who it should be: true
	// somebody: not found true
	// drained: <nil>
}
