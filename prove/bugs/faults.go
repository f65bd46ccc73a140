package main

import (
	"slices"

	"airdispatch/prove/seeded"
)

// faults are all rows.
func faults() []seeded.Fault {
	return slices.Concat(cryptoFaults(), messageFaults(), rpcFaults(), storeFaults(), sqliteFaults(), trackerFaults(), courierFaults(), mailserverFaults(), clientFaults(), doorFaults(),
		relayFaults(), nearbyFaults(), whisperFaults(), passerFaults(), liveFaults())
}

// control is a change that no test may find.
func control() seeded.Fault {
	return row("control", seeded.At("crypto/stream.go", "n[11] = 1", "n[11] = 1 | 1"), "crypto", "TestStreamTruncation")
}

func cryptoFaults() []seeded.Fault {
	return []seeded.Fault{
		row("kind_not_signed", seeded.At("crypto/sign.go", "	b = append(b, kind...)\n", ""), "message", "TestCrossKindSignatures"),
		row("last_chunk_unmarked", seeded.At("crypto/stream.go", "n[11] = 1", "n[11] = 0"), "crypto", "TestStreamTruncation"),
		row("small_order_key", seeded.At("crypto/sign.go", "if point.IsSmallOrder() {", "if point.IsSmallOrder() && len(b) == 0 {"), "crypto", "TestParseVerifyKey"),
		row("padding_not_looked_at", seeded.At("crypto/payload.go", "if z != 0 {", "if z > 255-1 {"), "crypto", "TestUnpadRefuses"),
		row("batch_of_one_verdict", seeded.At("crypto/verify.go", "_, good := w.batch.Verify(nil)\n	for i, v := range verdicts {\n		*v = good[i]", "_, good := w.batch.Verify(nil)\n	for _, v := range verdicts {\n		*v = good[0]"), "crypto", "TestBadOnesAreFound"),
	}
}

func messageFaults() []seeded.Fault {
	return []seeded.Fault{
		row("commitment_unchecked", seeded.At("message/open.go", "if commit != h.Commit {", "if commit == [32]byte{} {"), "message", "TestCommitmentToAnotherKey"),
		row("slot_for_anybody", seeded.At("message/open.go", "if a, err := AddressFromBytes(slot.GetAddress()); err != nil || !h.Reader(a) {", "if _, err := AddressFromBytes(slot.GetAddress()); err != nil {"), "message", "TestSurreptitiousForwarding"),
		row("payload_hash_unchecked", seeded.At("message/head.go", "if !h.Tombstone() && ID(crypto.Sum(payload)) != h.PayloadHash {", "if !h.Tombstone() && h.PayloadHash.IsZero() {"), "mailserver", "TestLyingOrigin"),
		row("fork_of_equal_rank", seeded.At("message/fork.go", "case x.rank < y.rank:", "case x.rank <= y.rank:"), "message", "TestCompareTie"),
		row("fork_window_off_by_one", seeded.At("message/fork.go", "return later < window", "return later <= window"), "message", "TestCompareAtTheBoundary"),
		row("removed_device_signs", seeded.At("message/chain.go", "return card, c.current(kind, key)", "return card, nil"), "message", "TestRevokedAndClosed"),
		row("card_signed_by_any_key", seeded.At("message/chain.go", "if c.rank >= len(rotation) || rotation[c.rank] != c.signedBy {", "if c.rank >= len(rotation) {"), "message", "TestChainRefusals"),
		row("access_for_another_server", seeded.At("message/access.go", "if out.Audience != audience {", "if out.Audience.IsZero() {"), "message", "TestAccessRefusals"),
		row("access_window_off_by_one", seeded.At("message/access.go", "now.After(out.Expires.Add(AccessSlack))", "now.After(out.Expires.Add(AccessSlack+time.Millisecond))"), "message", "TestAccessWindow"),
		row("ticket_signature_unchecked", seeded.At("message/route.go", "return t.parsed.verify(v)", "return nil"), "message", "TestTicket"),
		row("old_answer_believed", seeded.At("message/answer.go", "case now.Sub(a.Time) > AnswerLife:", "case now.Sub(a.Time) > 2*AnswerLife:"), "message", "TestAnswerAge"),
		row("second_version_of_final", seeded.At("message/head.go", "case !h.Tombstone() && h.Terms == Final && !tombstone:", "case !h.Tombstone() && h.Terms == Final && tombstone && h.Name != \"\":"), "message", "TestSealRefusals"),
		row("route_number_before_card", seeded.At("message/route.go", "case p.Card < q.Card || (p.Card == q.Card && p.Route < q.Route):", "case p.Route < q.Route || (p.Route == q.Route && p.Card < q.Card):"), "message", "TestRouteReaders"),
		row("path_in_attachment_name", []seeded.Edit{
			edit("message/content.go", `path.Base(strings.ReplaceAll(strings.ToValidUTF8(s, "_"), "\\", "/"))`, `path.Clean(strings.ToValidUTF8(s, "_"))`),
			edit("message/content.go", "strings.ContainsRune(`/:*?\"<>|`, r)", "strings.ContainsRune(`:*?\"<>|`, r)"),
			edit("message/content.go", `s = strings.TrimLeft(s, ". ")`, `s = strings.TrimLeft(s, " ")`),
		}, "message", "TestAttachmentNames"),
	}
}

func rpcFaults() []seeded.Fault {
	return []seeded.Fault{
		row("dial_without_control", seeded.At("rpc/guard.go", "net.Dialer{Timeout: dialTimeout, ControlContext: g.control}", "net.Dialer{Timeout: dialTimeout}"), "rpc", "TestGuardDials"),
		row("dial_embedded_ipv4", seeded.At("rpc/guard.go", "		if !g.allows(v4) {", "		if !v4.IsValid() {"), "rpc", "TestGuardRefusesEverySpelling"),
		row("pin_unchecked", seeded.At("rpc/link.go", "if len(s.PeerCertificates) == 0 || crypto.Pin(s.PeerCertificates[0]) != pin {", "if len(s.PeerCertificates) == 0 || crypto.Pin(s.PeerCertificates[0]) == [32]byte{} {"), "rpc", "TestSwappedCertificate"),
		row("caller_known_for_ever", seeded.At("rpc/caller.go", "if now.After(a.Expires.Add(message.AccessSlack)) || ", "if "), "rpc", "TestRememberedCallerExpires"),
		row("caller_known_without_signature", seeded.At("rpc/caller.go", "now, key := time.Now(), crypto.Sum([]byte(header))", "now, key := time.Now(), crypto.Sum([]byte(header)[:len(header)/2])"), "rpc", "TestRememberedCallerIsItsWholeHeader"),
		row("caller_not_forgotten", seeded.At("rpc/caller.go", "	c.known.forget(func(k *message.Access) bool { return k.From == a })", "	c.known.forget(func(k *message.Access) bool { return k.From == a && k.Expires.IsZero() })"), "rpc", "TestForget"),
	}
}

func storeFaults() []seeded.Fault {
	return []seeded.Fault{
		row("lower_pair_taken", seeded.At("store/known.go", "case order < 0, order == 0 && last.IsZero()", "case order == 0 && last.IsZero()"), "store", "TestLowerPairIsRefused"),
		row("void_pair_used_again", seeded.At("store/known.go", "case order < 0, order == 0 && last.IsZero() && held.highest != message.Pair{}:", "case order < 0:"), "store", "TestVoidPairIsNotUsedAgain"),
		row("highest_pair_not_kept", seeded.At("store/known.go", "Pair: e.highest, Updated: now", "Pair: routePair(i), Updated: now"), "store", "TestLowerPairIsRefused"),
		row("claimed_time_of_a_branch", seeded.At("store/known.go", "if same && n < len(offered.FirstSeen) &&", "if n < len(offered.FirstSeen) &&"), "store", "TestClaimedTimesDoNotMoveABranch"),
		row("verified_by_body_alone", seeded.At("store/known.go", "return bytes.Equal(a.GetBody(), b.GetBody()) && bytes.Equal(a.GetKey(), b.GetKey()) && bytes.Equal(a.GetSignature(), b.GetSignature())", "return bytes.Equal(a.GetBody(), b.GetBody())"), "store", "TestVerifiedOnce"),
		row("blob_hash_unverified", seeded.At("store/blobfile/blobfile.go", "if id != ref.ID {", "if id == (message.ID{}) {"), "store/blobfile", "TestBlobs"),
		row("blob_directory_not_synced", seeded.At("store/blobfile/blobfile.go", "return errors.Join(durable.SyncDir(b.dir, shelf(id)), durable.SyncDir(b.dir, parts))", "return nil"), "store/blobfile", "TestDirectoriesAreSynced"),
		row("key_file_for_all_to_read", seeded.At("store/keyfile/keyfile.go", "0o600", "0o644"), "store/keyfile", "TestPlain"),
		row("name_switches_silently", seeded.At("store/home/contacts.go", "on conflict (name) do update set offered = case when address = ?2 then x'' else ?2 end`", "on conflict (name) do update set address = ?2, offered = x''`"), "client", "TestChangedName"),
	}
}

func sqliteFaults() []seeded.Fault {
	return []seeded.Fault{
		row("acknowledged_before_commit", seeded.At("store/sqlite/writer.go", "	if err == nil {\n		err = t.commit()\n	}\n", "	if err == nil {\n		for _, j := range batch {\n			close(j.done)\n		}\n		batch = nil\n		err = t.commit()\n	}\n"), "store/sqlite", "TestEveryFault"),
		row("synchronous_normal", []seeded.Edit{
			edit("store/sqlite/driver.go", `{"FULL"}`, `{"NORMAL"}`),
			edit("store/sqlite/open.go", "&& level < 2 {", "&& level < 1 {"),
		}, "store/sqlite", "TestFileSyncsInFull"),
		row("normal_not_refused", seeded.At("store/sqlite/open.go", "&& level < 2 {", "&& level < 1 {"), "store/sqlite", "TestRefusals/no sync"),
		row("pair_not_kept", seeded.At("store/sqlite/identities.go", "int64(r.Pair.Card), int64(r.Pair.Route)", "int64(0), int64(r.Pair.Route)"), "store/sqlite", "TestTracker/identities/come back as they were put"),
		row("no_compare_and_swap", seeded.At("store/sqlite/submit.go", "if s.Head.Version != uint64(h.newest)+1 || s.Head.Prev != h.newestID {", "if s.Head.Version <= uint64(h.newest) {"), "store/sqlite", "TestMail/submit/compare and swap"),
		row("same_mid_is_the_same_message", seeded.At("store/sqlite/submit.go", "if err != nil || !ok || id != head.ID {", "if err != nil || !ok {"), "store/sqlite", "TestMail/submit/compare and swap"),
		row("same_mid_is_the_same_alert", seeded.At("store/sqlite/alert.go", "if id == a.Head.ID {", "if !id.IsZero() {"), "store/sqlite", "TestMail/alert/another id is a conflict and evidence"),
		row("repeated_alert_shows_again", seeded.At("store/sqlite/alert.go", "e.showsNews = !e.existed || a.Head.Version > uint64(e.newest)", "e.showsNews = true"), "store/sqlite", "TestMail/alert/an older version shows nothing"),
		row("tombstone_keeps_payload", seeded.At("store/sqlite/submit.go", "UPDATE versions SET parts = x'', payload = x'' WHERE", "UPDATE versions SET parts = x'' WHERE"), "store/sqlite", "TestBodiesAreErased"),
		row("quota_counted_afterwards", seeded.At("store/sqlite/accounts.go", "((bytes_limit = 0 OR bytes_used + ?2 <= bytes_limit) AND (messages_limit = 0 OR ?3 = 0", "((bytes_limit = 0 OR bytes_used <= bytes_limit) AND (messages_limit = 0 OR ?3 = 0"), "store/sqlite", "TestMail/quota/bytes count what is kept"),
		row("cap_of_strangers_off_by_one", seeded.At("store/sqlite/alert.go", "ofSender >= a.Caps.PerSender", "ofSender > a.Caps.PerSender"), "store/sqlite", "TestMail/caps/of one sender"),
		row("final_recalled_after_fetch", seeded.At("store/sqlite/submit.go", "	if s.UnlessFetched {", "	if s.UnlessFetched && s.Head.Version == 1 {"), "store/sqlite", "TestMail/submit/a final message fetched is kept"),
		row("handed_out_without_a_mark", seeded.At("store/sqlite/serve.go", "if s.mark = s.mark && !newest.Tombstone; s.mark {", "if s.mark = s.mark && newest.Tombstone; s.mark {"), "store/sqlite", "TestMail/serve/marks before it hands out"),
		row("attempts_not_kept", seeded.At("store/sqlite/tasks.go", "UPDATE deliveries SET due = ?3, attempts = attempts + 1,", "UPDATE deliveries SET due = ?3,"), "store/sqlite", "TestMail/deliveries/show the pending alert"),
		row("late_outcome_meets_new_version", seeded.At("store/sqlite/tasks.go", `"DELETE FROM tasks WHERE id = ?1 AND version = ?2", id, o.Version)`, `"DELETE FROM tasks WHERE id = ?1", id)`), "store/sqlite", "TestMail/alert/a prefetch task"),
		row("ephemeral_never_erased", seeded.At("store/sqlite/submit.go", "if !s.Head.Expires.IsZero() && !s.Head.Tombstone() {", "if !s.Head.Expires.IsZero() && s.Head.Tombstone() {"), "store/sqlite", "TestMail/expire/erases what is over"),
		row("epoch_not_raised", seeded.At("store/sqlite/identities.go", "		t.place.Epoch++\n", ""), "store/sqlite", "TestMail/log/an epoch is raised"),
	}
}

func trackerFaults() []seeded.Fault {
	return []seeded.Fault{
		row("ticket_not_asked_for", seeded.At("tracker/publish.go", "return i.VerifyTickets(s.c.Verifier, servers, now)", "return nil"), "tracker", "TestPublishRefuses"),
		row("expired_route_published", seeded.At("tracker/publish.go", "if i.Route.Expired(now) {", "if i.Route.Expires.IsZero() {"), "tracker", "TestPublishRefuses"),
		row("receipt_for_a_refusal", seeded.At("tracker/publish.go", "if err = errors.Join(err, placed); err != nil {", "if err = placed; err != nil {"), "tracker", "TestPublishNeverGoesBack"),
		row("old_answer_after_a_change", seeded.At("tracker/publish.go", "	s.answers.drop(addressMark(a))\n", ""), "tracker", "TestAnswersAreUsedAgain"),
		row("private_tracker_answers_all", seeded.At("tracker/lookup.go", "room, admitted := maxResponse, !s.c.Private", "room, admitted := maxResponse, true"), "tracker", "TestPrivate"),
	}
}

func courierFaults() []seeded.Fault {
	return []seeded.Fault{
		row("bundle_not_brought", seeded.At("courier/alert.go", "	if errors.Is(err, message.NeedBundle) {\n		results, err = c.call(ctx, peer, parcels, true)\n	}\n", ""), "courier", "TestBundles"),
		row("receipt_for_another_message", seeded.At("courier/alert.go", "receipt.Kind != message.ReceiptAlerted || receipt.ID != p.id ||", "receipt.Kind != message.ReceiptAlerted ||"), "courier", "TestAnswers"),
		row("passing_refusal_ends_it", seeded.At("courier/courier.go", "case message.NeedBundle, message.Clock, message.RateLimited,", "case message.NeedBundle, message.Clock,"), "courier", "TestAnswers"),
	}
}

func mailserverFaults() []seeded.Fault {
	return []seeded.Fault{
		row("alert_for_anybody", seeded.At("mailserver/alert.go", "if !claim.Addressed(to) {", "if to.IsZero() {"), "mailserver", "TestAlertEnemies"),
		row("alert_by_any_server", seeded.At("mailserver/alert.go", "	if !ok {\n		return nil, fmt.Errorf(\"mailserver: alert: %s does not speak", "	if !ok && origin.IsZero() {\n		return nil, fmt.Errorf(\"mailserver: alert: %s does not speak"), "mailserver", "TestAlertEnemies"),
		row("refusal_tells_why", seeded.At("mailserver/alert.go", "	return message.NotAccepted\n}", "	return err\n}"), "mailserver", "TestAlertEnemies"),
		row("pull_for_anybody", seeded.At("mailserver/pull.go", "if d.public || d.addressed(reader) {", "if d.public || !reader.IsZero() {"), "mailserver", "TestPullEnemies"),
		row("pull_by_any_server", seeded.At("mailserver/pull.go", "	if !ok {\n", "	if !ok && reader.IsZero() {\n"), "mailserver", "TestPullEnemies"),
		row("over_and_handed_out", seeded.At("mailserver/pull.go", "	if d.expired(now) {\n", "	if d.expired(now) && d.public {\n"), "mailserver", "TestOverIsNotPulled"),
		row("receipt_although_refused", seeded.At("mailserver/submit.go", "	if r.Err != nil {\n", "	if r.Err != nil && h.ID.IsZero() {\n"), "mailserver", "TestNoReceiptForWhatIsNotKept"),
		row("message_of_another_author", seeded.At("mailserver/submit.go", "if claim.From() != author.Address() {", "if claim.From().IsZero() {"), "mailserver", "TestRefusedSubmissions"),
		row("strangers_in_the_inbox", seeded.At("mailserver/alert.go", "	if v != store.Allow {\n", "	if v == store.Block {\n"), "mailserver", "TestRequests"),
		row("blob_of_another_message", seeded.At("mailserver/blobs.go", "	if !used {\n", "	if !used && id.IsZero() {\n"), "mailserver", "TestBlobs"),
		row("suspended_writes", seeded.At("mailserver/caller.go", "if err == nil && acc.Suspended {", "if err == nil && acc.Suspended && acc.BytesUsed < 0 {"), "mailserver", "TestSuspended"),
		row("cursor_of_another_epoch", seeded.At("mailserver/inbox.go", "	if c.GetEpoch() != now.Epoch {\n		return 0, nil\n	}\n", ""), "mailserver", "TestRestoredCursor"),
	}
}

func clientFaults() []seeded.Fault {
	return []seeded.Fault{
		row("rewritten_history_taken", seeded.At("client/fetch.go", "if was := known[h.Version]; was != nil && was.ID != h.ID {", "if was := known[h.Version]; was != nil && was.ID.IsZero() {"), "client", "TestRewrittenHistories"),
		row("older_than_announced_shown", seeded.At("client/fetch.go", "p.known.Trouble != \"\" || newest >= p.known.Version {", "p.known.Trouble != \"\" || newest > 0 {"), "client", "TestRewrittenHistories"),
		row("sealed_to_the_disputed", seeded.At("client/lookup.go", "	if found.Disagreement {", "	if found.Disagreement && a.IsZero() {"), "client", "TestDisagreement"),
		row("edit_over_what_was_not_seen", seeded.At("client/edit.go", "if here := i.Head.Version; e.Base != 0 && e.Base != here {", "if here := i.Head.Version; e.Base > here {"), "client", "TestEditDraftReplacesKnowingly"),
		row("edit_made_twice", seeded.At("client/edit.go", "if slices.Contains(e.Tried, h.ID.String()) {", "if slices.Contains(e.Tried, h.MID.String()) {"), "client", "TestEditWhoseAnswerIsLost"),
	}
}

func doorFaults() []seeded.Fault {
	return []seeded.Fault{
		row("escape_reaches_the_terminal", seeded.At("cmd/adctl/output.go", "return r != '\\n' && r != '\\t' && !message.Visible(r)", "return r != '\\n' && r != '\\t' && r != 0x1b && !message.Visible(r)"), "cmd/adctl", "TestVisible"),
		row("restored_in_the_old_epoch", seeded.At("cmd/internal/daemon/backup.go", "return s.storeLog().RaiseEpoch(ctx)", "return nil"), "cmd/internal/daemon", "TestBackupKeepsEverything"),
	}
}

func relayFaults() []seeded.Fault {
	return []seeded.Fault{
		row("spoken_for_by_anybody", seeded.At("relay/pair.go", "if p.ends[i].attached == k {", "if p.ends[i].attached != nil {"), "relay", "TestNobodyElseSpeaksOnAConnection"),
		row("taken_up_by_the_session_alone", seeded.At("relay/pair.go", "p.ends[i].seat != k.seat ||", "p.ends[i].seat.session != k.seat.session ||"), "relay", "TestSomebodyElsesSession"),
		row("resumed_at_the_others_offset", seeded.At("relay/pair.go", "s.enqueue(k, item{frame: resumeFrame(p.id, me.next)})", "s.enqueue(k, item{frame: resumeFrame(p.id, other.next)})"), "relay", "TestSomebodyElsesSession"),
		row("not_sent_again_after_a_resume", seeded.At("relay/stream.go", "s.next, s.closed, s.creditDue = received, false, true", "s.closed, s.creditDue = false, true"), "relay", "TestNetworkThatLosesEverything"),
		row("window_not_enforced", []seeded.Edit{
			edit("relay/pair.go", "case last > other.consumed+Window:", "case last > maxOffset:"),
			edit("relay/stream.go", "case last > s.consumed+Window:", "case last > maxOffset:"),
		}, "relay", "TestWhoSendsTooMuchIsCutOff"),
		row("hole_is_waited_for", []seeded.Edit{
			edit("relay/stream.go", "s.why = Broken // a relay passes on what continues a stream, and nothing else", "return false"),
			edit("relay/stream.go", "s.why = Broken // a relay passes that on behind all that it ends\n		s.out = fifo{}", "return"),
		}, "relay", "TestARelayThatLies/drops"),
		row("closed_twice_ends_early", seeded.At("relay/stream.go", "return // said again after a resume; this end's own word is still due", "s.why = Done"), "relay", "TestClosedTwice"),
		row("blocked_learns_of_it", seeded.At("relay/pair.go", "why = NotOnline // whoever is not to be reached is not there", "why = Refused"), "relay", "TestReasons"),
		row("limit_of_the_caller_alone", seeded.At("relay/pair.go", "over(t.person.pairs, s.c.Limits.ConnectionsPerAddress) || ", ""), "relay", "TestLimitOfConnections"),
		row("key_of_the_peer_not_compared", seeded.At("relay/secure.go", "!peer.Head().Lists(key) || peer.Head().Closed", "!peer.Head().Lists(key) && peer.Head().Closed"), "relay", "TestSomebodyElseIsThere"),
		row("handshake_fits_any_connection", seeded.At("relay/secure.go", "name := hex.EncodeToString(id[:])", "name := hex.EncodeToString(id[:0])"), "relay", "TestARelayThatSwaps"),
		row("token_good_twice", seeded.At("relay/direct.go", " || taken.Swap(true) {", " && !taken.Swap(true) {"), "relay", "TestStolenToken"),
		row("lowest_port_off_by_one", seeded.At("relay/direct.go", "to.Port() < lowestPort ||", "to.Port() < lowestPort-1 ||"), "relay", "TestOffersOfEnemies"),
		row("abort_looks_in_order", seeded.At("relay/conn.go", "	return c.stream.Close()\n", "	return c.tls.Close()\n"), "relay", "TestAbortIsNoEnd"),
	}
}

func nearbyFaults() []seeded.Fault {
	return []seeded.Fault{
		row("nearby_pin_unchecked", seeded.At("nearby/secure.go", "!ok || !lists(chain, key) {\n			return fmt.Errorf(\"nearby: %s is not %s: %w\", p.Place, chain", "!ok || !lists(chain, key) && chain.Head().Closed {\n			return fmt.Errorf(\"nearby: %s is not %s: %w\", p.Place, chain"), "nearby", "TestPins"),
		row("nearby_admits_all", seeded.At("nearby/live.go", "case l != nil && l.admits(r.Context(), from):", "case l != nil:"), "nearby", "TestWhoMayConnect"),
		row("nearby_files_for_guests", seeded.At("nearby/files.go", "_, err := n.contact(r)\n	out :=", "_, err := n.prove(r)\n	out :="), "nearby", "TestWhoMayConnect"),
		row("nearby_cut_is_an_end", seeded.At("nearby/conn.go", "if err == io.EOF && s.live.Load() {", "if err == io.EOF && !s.live.Load() {"), "nearby", "TestCutIsNoEnd"),
		row("nearby_abort_looks_in_order", seeded.At("nearby/conn.go", "c.leaveBy(c.raw.settle)", "c.leaveBy(c.finish)"), "nearby", "TestAbortIsNoEnd"),
		row("nearby_file_hash_unchecked", seeded.At("nearby/files.go", "; got != f.Hash {", "; got.IsZero() {"), "nearby", "TestLettersAndFiles"),
		row("nearby_answers_amplify", seeded.At("nearby/hear.go", "err != nil || len(b) <= limit {", "err != nil || len(b) <= MaxDatagram {"), "nearby", "TestAnswersAreNoLonger"),
		row("nearby_polls_low_ports", seeded.At("nearby/poll.go", "lowestPolled = 1024", "lowestPolled = 1023"), "nearby", "TestPollKnocksNowhereElse"),
	}
}

func whisperFaults() []seeded.Fault {
	return []seeded.Fault{
		row("whisper_hash_unchecked", seeded.At("whisper/object.go", "return strings.EqualFold(want, hex.EncodeToString(got[:]))", "return want != hex.EncodeToString(got[:0])"), "whisper", "TestWhatOldPeersSay"),
		row("whisper_signature_unchecked", seeded.At("whisper/prove.go", "Signature: e.Signature[33:]}) {", "Signature: e.Signature[33:]}) && chain == nil {"), "whisper", "TestFalseSignatures"),
		row("whisper_extension_to_old_peers", seeded.At("whisper/object.go", "if f.key == keyOurs && !ours {", "if f.key == keyOurs && !ours && len(o.fields) == 1 {"), "whisper", "TestVectors/objects/without our extension"),
		row("whisper_dials_for_strangers", seeded.At("whisper/core.go", "if !direct && !public(ap.Addr()) || c.quiet[o.Addr] {", "if c.quiet[o.Addr] {"), "whisper", "TestWhomToDial"),
		row("whisper_ids_without_bound", seeded.At("whisper/seen.go", "if len(s.at) > s.max {", "if len(s.at) < 0 {"), "whisper", "TestSeenForgets"),
	}
}

func passerFaults() []seeded.Fault {
	return []seeded.Fault{
		row("passer_name_once", seeded.At("passer/server.go", "if s.stopped || over(all,", "if s.stopped || old != nil || over(all,"), "passer", "TestNameIsUsableAgain"),
		row("passer_wat_goes_on", seeded.At("passer/pair.go", "return // WAT, what only a server says", "if p != nil {\n			s.tell(p.other(c).client, m)\n		}\n		return // WAT, what only a server says"), "passer", "TestWATIsNotForwarded"),
		row("passer_without_a_secret", seeded.At("passer/login.go", "fits := crypto.Same(a.Secret, HashSecret(m.Data))", "fits := len(m.Data) == 0 || crypto.Same(a.Secret, HashSecret(m.Data))"), "passer", "TestLogins"),
		row("passer_blocked_calls", seeded.At("passer/pair.go", "to.account.Address); err != nil {", "to.account.Address); err != nil && to == c {"), "passer", "TestBlocked"),
		row("passer_frame_for_somebody_else", seeded.At("passer/pair.go", "if p != nil && !p.between(c, m.OtherClient) {", "if p != nil && m.OtherClient == \"\" {"), "passer", "TestNobodyElseSpeaksOnAConnection"),
	}
}

func liveFaults() []seeded.Fault {
	return []seeded.Fault{
		row("beam_over_a_file", []seeded.Edit{
			edit("client/beam.go", "if _, err := root.Lstat(b.Name); err == nil {", "if _, err := root.Lstat(b.Name); os.IsExist(err) {"),
			edit("client/save.go", "err := root.Link(part, name)", "err := root.Rename(part, name)"),
			edit("client/save.go", "	return root.Remove(part)\n}", "	return nil\n}"),
		}, "cmd/adctl", "TestScripts/live"),
		row("beam_of_other_bytes", seeded.At("client/beam.go", "if err == nil && !bytes.Equal(hash[:], offer.Hash) {", "if err == nil && !bytes.Equal(hash[:0], offer.Hash[:0]) {"), "cmd/adctl", "TestScripts/beam"),
		row("failed_process_ends_in_order", seeded.At("cmd/adctl/listen_exec.go", "	if err != nil {\n		err = errors.Join(err, conn.Abort())", "	if err != nil && context.Cause(ctx) != nil {\n		err = errors.Join(err, conn.Abort())"), "cmd/adctl", "TestScripts/live_ends"),
	}
}

// row is one fault.
func row(tag string, edits []seeded.Edit, room, test string) seeded.Fault {
	return seeded.Fault{Tag: tag, Edits: edits, Room: room, Test: test}
}

// edit is one of several edits.
func edit(file, from, to string) seeded.Edit { return seeded.Edit{File: file, Old: from, New: to} }
