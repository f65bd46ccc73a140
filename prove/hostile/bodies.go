package main

import (
	"context"
	"fmt"
	"strings"

	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// procedures are all calls that there are.
func procedures() []string {
	return []string{
		wirev1connect.DirectoryLookupProcedure, wirev1connect.TrackerPublishProcedure, wirev1connect.TrackerClaimProcedure,
		wirev1connect.ExchangeAlertProcedure, wirev1connect.ExchangeAlertStreamProcedure, wirev1connect.ExchangeAlertsProcedure, wirev1connect.ExchangePullProcedure,
		wirev1connect.ExchangePostsProcedure, wirev1connect.ExchangeFollowProcedure, wirev1connect.ExchangeReceiptsProcedure,
		wirev1connect.MailboxJoinProcedure, wirev1connect.MailboxAnnounceProcedure, wirev1connect.MailboxSubmitProcedure, wirev1connect.MailboxSubmitStreamProcedure,
		wirev1connect.MailboxInboxProcedure, wirev1connect.MailboxWatchProcedure, wirev1connect.MailboxFetchProcedure, wirev1connect.MailboxSentProcedure, wirev1connect.MailboxStatusProcedure,
		wirev1connect.MailboxMarkProcedure, wirev1connect.MailboxAcknowledgeProcedure, wirev1connect.MailboxPolicyProcedure, wirev1connect.MailboxAccountProcedure,
	}
}

// broken are bodies that are no protobuf, or that would become far more than
// they are.
func broken() map[string]string {
	varint := "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
	return map[string]string{
		"length 2^31-1": "\x0a\xff\xff\xff\xff\x07", "length 2^63": "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "length 2^64-1": "\x0a" + varint, "length of 11 bytes": "\x0a\xff" + varint,
		"length without bytes": "\x0a\x05", "field 0": "\x02\x00", "wire type 6": "\x0e", "wire type 7": "\x0f", "end of no group": "\x0c", "open group": "\x0b",
		"groups, 100,000 deep": strings.Repeat("\x0b", 100_000), "a tag without end": strings.Repeat("\xff", 20), "half a fixed64": "\x09\x01", "bad text": "\x12\x02\xff\xfe\x0a\x02\x12\x80",
		"messages, 60 deep": deep(60), "2,000,000 empty messages": strings.Repeat("\x0a\x00", 2_000_000), "more than a call": "\x0a" + "\x80\x80\x80\x04" + strings.Repeat("a", 8<<20),
		"nulls": strings.Repeat("\x00", 1000), "text": "GET / HTTP/1.1\r\n\r\n",
	}
}

// deep is a message in a message in a message.
func deep(n int) string {
	s := ""
	for range n {
		s = "\x0a" + number(len(s)) + s
	}
	return s
}

// bodies are broken bodies to every call, in every form that is spoken.
func (a *arena) bodies() (all []attack) {
	auth := "Authorization: " + a.access
	for _, path := range procedures() {
		for name, body := range broken() {
			all = append(all, against(a.doors(), path+" "+name, func(ctx context.Context, t target) error {
				status, err := a.once(ctx, t, request(path, protobuf, []byte(body), auth))
				if err == nil && status == 500 {
					err = fmt.Errorf("answered with %d", status)
				}
				return err
			})...)
		}
		for name, head := range map[string]string{
			"an envelope of 2^31-1": "\x00\x7f\xff\xff\xff", "an envelope of 2^32-1": "\x00\xff\xff\xff\xff", "a flag of 255": "\xff\x00\x00\x00\x00", "an envelope of 0": "\x00\x00\x00\x00\x00",
			"a compressed one": "\x01\x00\x00\x00\x02\x0a\x00", "half an envelope": "\x00\x00", "an end first": "\x02\x00\x00\x00\x02{}", "more than it says": "\x00\x00\x00\x00\x01\x0a\x00\x0a",
		} {
			for _, kind := range []string{"application/connect+proto", "application/grpc"} {
				all = append(all, against(a.doors(), path+" "+kind+" "+name, func(ctx context.Context, t target) error {
					_, err := a.sends(ctx, t, 2, request(path, kind, []byte(head), auth))
					return err
				})...)
			}
		}
	}
	for name, body := range map[string]string{
		"lists, 100,000 deep": strings.Repeat("[", 100_000), "objects, 100,000 deep": strings.Repeat(`{"queries":[`, 100_000), "half": `{"queries":[{"na`, "a number of 1e400": `{"queries":1e400}`,
		"bad base64": `{"queries":[{"address":"!!"}]}`, "bad text": "{\"queries\":[{\"name\":\"\xff\"}]}", "a key twice": `{"queries":[],"queries":[]}`, "a key that is not there": `{"x":1}`, "a lone surrogate": `{"queries":[{"name":"\ud800"}]}`,
		"a long number": `{"queries":` + strings.Repeat("9", 1<<20) + `}`, "a list of nulls": `{"queries":[` + strings.Repeat("null,", 300_000) + `null]}`, "no JSON": "\x00\x01",
	} {
		all = append(all, a.never(a.doors(), "JSON: "+name, request(lookupPath, "application/json", []byte(body)))...)
	}
	return all
}
