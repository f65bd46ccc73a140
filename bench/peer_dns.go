package bench

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// dnsQueries asks a name server in this process for a TXT record over UDP:
// what a directory without signatures does.
func dnsQueries(workers int) func(string) (*Run, error) {
	return func(string) (*Run, error) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		text := strings.Repeat("a", 250)
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{text}}}
			_ = w.WriteMsg(m)
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		client := &dns.Client{Timeout: 5 * time.Second}
		conns := make([]*dns.Conn, workers)
		for i := range conns {
			if conns[i], err = client.Dial(conn.LocalAddr().String()); err != nil {
				return nil, err
			}
		}
		next := counter()
		return &Run{
			Close: func() {
				for _, c := range conns {
					_ = c.Close()
				}
				_ = server.Shutdown()
				<-done
			},
			Do: func(w int) error {
				q := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.", next()%1024), dns.TypeTXT)
				a, _, err := client.ExchangeWithConn(q, conns[w])
				if err == nil && len(a.Answer) != 1 {
					err = errShort
				}
				return err
			},
		}, nil
	}
}
