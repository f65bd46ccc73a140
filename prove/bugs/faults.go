package main

import "slices"

// faults are all rows.
func faults() []fault {
	return slices.Concat(cryptoFaults(), messageFaults(), rpcFaults(), storeFaults(), sqliteFaults(), trackerFaults(), courierFaults(), mailserverFaults(), clientFaults(), doorFaults())
}

// control is a change that no test may find.
func control() fault {
	return fault{"control", at("crypto/stream.go", "n[11] = 1", "n[11] = 1 | 1"), "crypto", "TestStreamTruncation"}
}

func cryptoFaults() []fault {
	return []fault{
		{"kind_not_signed", at("crypto/sign.go", "	b = append(b, kind...)\n", ""), "message", "TestCrossKindSignatures"},
		{"last_chunk_unmarked", at("crypto/stream.go", "n[11] = 1", "n[11] = 0"), "crypto", "TestStreamTruncation"},
		{"small_order_key", at("crypto/sign.go", "if point.IsSmallOrder() {", "if point.IsSmallOrder() && len(b) == 0 {"), "crypto", "TestParseVerifyKey"},
		{"padding_not_looked_at", at("crypto/payload.go", "if z != 0 {", "if z > 255-1 {"), "crypto", "TestUnpadRefuses"},
		{"batch_of_one_verdict", at("crypto/verify.go", "_, good := w.batch.Verify(nil)\n	for i, v := range verdicts {\n		*v = good[i]", "_, good := w.batch.Verify(nil)\n	for _, v := range verdicts {\n		*v = good[0]"), "crypto", "TestBadOnesAreFound"},
	}
}

func messageFaults() []fault {
	return []fault{
		{"commitment_unchecked", at("message/open.go", "if commit != h.Commit {", "if commit == [32]byte{} {"), "message", "TestCommitmentToAnotherKey"},
		{"slot_for_anybody", at("message/open.go", "if a, err := AddressFromBytes(slot.GetAddress()); err != nil || !h.Reader(a) {", "if _, err := AddressFromBytes(slot.GetAddress()); err != nil {"), "message", "TestSurreptitiousForwarding"},
		{"payload_hash_unchecked", at("message/head.go", "if !h.Tombstone() && ID(crypto.Sum(payload)) != h.PayloadHash {", "if !h.Tombstone() && h.PayloadHash.IsZero() {"), "mailserver", "TestLyingOrigin"},
		{"fork_of_equal_rank", at("message/fork.go", "case x.rank < y.rank:", "case x.rank <= y.rank:"), "message", "TestCompareTie"},
		{"fork_window_off_by_one", at("message/fork.go", "return later < window", "return later <= window"), "message", "TestCompareAtTheBoundary"},
		{"removed_device_signs", at("message/chain.go", "return card, c.current(kind, key)", "return card, nil"), "message", "TestRevokedAndClosed"},
		{"card_signed_by_any_key", at("message/chain.go", "if c.rank >= len(rotation) || rotation[c.rank] != c.signedBy {", "if c.rank >= len(rotation) {"), "message", "TestChainRefusals"},
		{"access_for_another_server", at("message/access.go", "if out.Audience != audience {", "if out.Audience.IsZero() {"), "message", "TestAccessRefusals"},
		{"access_window_off_by_one", at("message/access.go", "now.After(out.Expires.Add(AccessSlack))", "now.After(out.Expires.Add(AccessSlack+time.Millisecond))"), "message", "TestAccessWindow"},
		{"ticket_signature_unchecked", at("message/route.go", "return t.parsed.verify(v)", "return nil"), "message", "TestTicket"},
		{"old_answer_believed", at("message/answer.go", "case now.Sub(a.Time) > AnswerLife:", "case now.Sub(a.Time) > 2*AnswerLife:"), "message", "TestAnswerAge"},
		{"second_version_of_final", at("message/head.go", "case !h.Tombstone() && h.Terms == Final && !tombstone:", "case !h.Tombstone() && h.Terms == Final && tombstone && h.Name != \"\":"), "message", "TestSealRefusals"},
		{"route_number_before_card", at("message/route.go", "case p.Card < q.Card || (p.Card == q.Card && p.Route < q.Route):", "case p.Route < q.Route || (p.Route == q.Route && p.Card < q.Card):"), "tracker", "TestPublishNeverGoesBack"},
		{"path_in_attachment_name", []edit{
			{"message/content.go", `path.Base(strings.ReplaceAll(strings.ToValidUTF8(s, "_"), "\\", "/"))`, `path.Clean(strings.ToValidUTF8(s, "_"))`},
			{"message/content.go", "strings.ContainsRune(`/:*?\"<>|`, r)", "strings.ContainsRune(`:*?\"<>|`, r)"},
			{"message/content.go", `s = strings.TrimLeft(s, ". ")`, `s = strings.TrimLeft(s, " ")`},
		}, "message", "TestAttachmentNames"},
	}
}

func rpcFaults() []fault {
	return []fault{
		{"dial_without_control", at("rpc/guard.go", "net.Dialer{Timeout: dialTimeout, ControlContext: g.control}", "net.Dialer{Timeout: dialTimeout}"), "rpc", "TestGuardDials"},
		{"dial_embedded_ipv4", at("rpc/guard.go", "		if !g.allows(v4) {", "		if !v4.IsValid() {"), "rpc", "TestGuardRefusesEverySpelling"},
		{"pin_unchecked", at("rpc/link.go", "if len(s.PeerCertificates) == 0 || crypto.Pin(s.PeerCertificates[0]) != pin {", "if len(s.PeerCertificates) == 0 || crypto.Pin(s.PeerCertificates[0]) == [32]byte{} {"), "rpc", "TestSwappedCertificate"},
		{"caller_known_for_ever", at("rpc/caller.go", "if now.After(a.Expires.Add(message.AccessSlack)) || ", "if "), "rpc", "TestRememberedCallerExpires"},
		{"caller_known_without_signature", at("rpc/caller.go", "now, key := time.Now(), crypto.Sum([]byte(header))", "now, key := time.Now(), crypto.Sum([]byte(header)[:len(header)/2])"), "rpc", "TestRememberedCallerIsItsWholeHeader"},
		{"caller_not_forgotten", at("rpc/caller.go", "	c.known.forget(func(k *message.Access) bool { return k.From == a })", "	c.known.forget(func(k *message.Access) bool { return k.From == a && k.Expires.IsZero() })"), "rpc", "TestForget"},
	}
}

func storeFaults() []fault {
	return []fault{
		{"lower_pair_taken", at("store/known.go", "case order < 0, order == 0 && last.IsZero()", "case order == 0 && last.IsZero()"), "store", "TestLowerPairIsRefused"},
		{"void_pair_used_again", at("store/known.go", "case order < 0, order == 0 && last.IsZero() && held.highest != message.Pair{}:", "case order < 0:"), "store", "TestVoidPairIsNotUsedAgain"},
		{"highest_pair_not_kept", at("store/known.go", "Pair: e.highest, Updated: now", "Pair: routePair(i), Updated: now"), "store", "TestLowerPairIsRefused"},
		{"claimed_time_of_a_branch", at("store/known.go", "if same && n < len(offered.FirstSeen) &&", "if n < len(offered.FirstSeen) &&"), "store", "TestClaimedTimesDoNotMoveABranch"},
		{"verified_by_body_alone", at("store/known.go", "return bytes.Equal(a.GetBody(), b.GetBody()) && bytes.Equal(a.GetKey(), b.GetKey()) && bytes.Equal(a.GetSignature(), b.GetSignature())", "return bytes.Equal(a.GetBody(), b.GetBody())"), "store", "TestVerifiedOnce"},
		{"blob_hash_unverified", at("store/blobfile/blobfile.go", "if id != ref.ID {", "if id == (message.ID{}) {"), "store/blobfile", "TestBlobs"},
		{"blob_directory_not_synced", at("store/blobfile/blobfile.go", "return errors.Join(durable.SyncDir(b.dir, shelf(id)), durable.SyncDir(b.dir, parts))", "return nil"), "store/blobfile", "TestDirectoriesAreSynced"},
		{"key_file_for_all_to_read", at("store/keyfile/keyfile.go", "0o600", "0o644"), "store/keyfile", "TestPlain"},
		{"name_switches_silently", at("store/home/contacts.go", "on conflict (name) do update set offered = case when address = ?2 then x'' else ?2 end`", "on conflict (name) do update set address = ?2, offered = x''`"), "client", "TestChangedName"},
	}
}

func sqliteFaults() []fault {
	return []fault{
		{"acknowledged_before_commit", at("store/sqlite/writer.go", "	if err == nil {\n		err = t.commit()\n	}\n", "	if err == nil {\n		for _, j := range batch {\n			close(j.done)\n		}\n		batch = nil\n		err = t.commit()\n	}\n"), "store/sqlite", "TestEveryFault"},
		{"synchronous_normal", []edit{
			{"store/sqlite/driver.go", `{"FULL"}`, `{"NORMAL"}`},
			{"store/sqlite/open.go", "&& level < 2 {", "&& level < 1 {"},
		}, "store/sqlite", "TestFileSyncsInFull"},
		{"normal_not_refused", at("store/sqlite/open.go", "&& level < 2 {", "&& level < 1 {"), "store/sqlite", "TestRefusals/no sync"},
		{"pair_not_kept", at("store/sqlite/identities.go", "int64(r.Pair.Card), int64(r.Pair.Route)", "int64(0), int64(r.Pair.Route)"), "store/sqlite", "TestTracker/identities/come back as they were put"},
		{"no_compare_and_swap", at("store/sqlite/submit.go", "if s.Head.Version != uint64(h.newest)+1 || s.Head.Prev != h.newestID {", "if s.Head.Version <= uint64(h.newest) {"), "store/sqlite", "TestMail/submit/compare and swap"},
		{"same_mid_is_the_same_message", at("store/sqlite/submit.go", "if err != nil || !ok || id != head.ID {", "if err != nil || !ok {"), "store/sqlite", "TestMail/submit/compare and swap"},
		{"same_mid_is_the_same_alert", at("store/sqlite/alert.go", "if id == a.Head.ID {", "if !id.IsZero() {"), "store/sqlite", "TestMail/alert/another id is a conflict and evidence"},
		{"repeated_alert_shows_again", at("store/sqlite/alert.go", "e.showsNews = !e.existed || a.Head.Version > uint64(e.newest)", "e.showsNews = true"), "store/sqlite", "TestMail/alert/an older version shows nothing"},
		{"tombstone_keeps_payload", at("store/sqlite/submit.go", "UPDATE versions SET parts = x'', payload = x'' WHERE", "UPDATE versions SET parts = x'' WHERE"), "store/sqlite", "TestMail/submit/a tombstone erases and keeps heads"},
		{"quota_counted_afterwards", at("store/sqlite/accounts.go", "((bytes_limit = 0 OR bytes_used + ?2 <= bytes_limit) AND (messages_limit = 0 OR ?3 = 0", "((bytes_limit = 0 OR bytes_used <= bytes_limit) AND (messages_limit = 0 OR ?3 = 0"), "store/sqlite", "TestMail/quota/bytes count what is kept"},
		{"cap_of_strangers_off_by_one", at("store/sqlite/alert.go", "ofSender >= a.Caps.PerSender", "ofSender > a.Caps.PerSender"), "store/sqlite", "TestMail/caps/of one sender"},
		{"final_recalled_after_fetch", at("store/sqlite/submit.go", "	if s.UnlessFetched {", "	if s.UnlessFetched && s.Head.Version == 1 {"), "store/sqlite", "TestMail/submit/a final message fetched is kept"},
		{"handed_out_without_a_mark", at("store/sqlite/serve.go", "if s.mark = s.mark && !newest.Tombstone; s.mark {", "if s.mark = s.mark && newest.Tombstone; s.mark {"), "store/sqlite", "TestMail/serve/marks before it hands out"},
		{"attempts_not_kept", at("store/sqlite/tasks.go", "UPDATE deliveries SET due = ?3, attempts = attempts + 1,", "UPDATE deliveries SET due = ?3,"), "store/sqlite", "TestMail/deliveries/show the pending alert"},
		{"late_outcome_meets_new_version", at("store/sqlite/tasks.go", `"DELETE FROM tasks WHERE id = ?1 AND version = ?2", id, o.Version)`, `"DELETE FROM tasks WHERE id = ?1", id)`), "store/sqlite", "TestMail/tasks/an outcome of an older version"},
		{"ephemeral_never_erased", at("store/sqlite/submit.go", "if !s.Head.Expires.IsZero() && !s.Head.Tombstone() {", "if !s.Head.Expires.IsZero() && s.Head.Tombstone() {"), "store/sqlite", "TestMail/expire/erases what is over"},
		{"epoch_not_raised", at("store/sqlite/identities.go", "		t.place.Epoch++\n", ""), "store/sqlite", "TestMail/log/an epoch is raised"},
	}
}

func trackerFaults() []fault {
	return []fault{
		{"ticket_not_asked_for", at("tracker/publish.go", "return i.VerifyTickets(s.c.Verifier, servers, now)", "return nil"), "tracker", "TestPublishRefuses"},
		{"expired_route_published", at("tracker/publish.go", "if i.Route.Expired(now) {", "if i.Route.Expires.IsZero() {"), "tracker", "TestPublishRefuses"},
		{"receipt_for_a_refusal", at("tracker/publish.go", "if err = errors.Join(err, placed); err != nil {", "if err = placed; err != nil {"), "tracker", "TestPublishNeverGoesBack"},
		{"old_answer_after_a_change", at("tracker/publish.go", "	s.answers.drop(addressMark(a))\n", ""), "tracker", "TestAnswersAreUsedAgain"},
		{"private_tracker_answers_all", at("tracker/lookup.go", "room, admitted := maxResponse, !s.c.Private", "room, admitted := maxResponse, true"), "tracker", "TestPrivate"},
	}
}

func courierFaults() []fault {
	return []fault{
		{"bundle_not_brought", at("courier/alert.go", "	if errors.Is(err, message.NeedBundle) {\n		results, err = c.call(ctx, peer, parcels, true)\n	}\n", ""), "courier", "TestBundles"},
		{"receipt_for_another_message", at("courier/alert.go", "receipt.Kind != message.ReceiptAlerted || receipt.ID != p.id ||", "receipt.Kind != message.ReceiptAlerted ||"), "courier", "TestAnswers"},
		{"passing_refusal_ends_it", at("courier/courier.go", "case message.NeedBundle, message.Clock, message.RateLimited,", "case message.NeedBundle, message.Clock,"), "courier", "TestAnswers"},
	}
}

func mailserverFaults() []fault {
	return []fault{
		{"alert_for_anybody", at("mailserver/alert.go", "if !claim.Addressed(to) {", "if to.IsZero() {"), "mailserver", "TestAlertEnemies"},
		{"alert_by_any_server", at("mailserver/alert.go", "	if !ok {\n		return nil, fmt.Errorf(\"mailserver: alert: %s does not speak", "	if !ok && origin.IsZero() {\n		return nil, fmt.Errorf(\"mailserver: alert: %s does not speak"), "mailserver", "TestAlertEnemies"},
		{"refusal_tells_why", at("mailserver/alert.go", "	return message.NotAccepted\n}", "	return err\n}"), "mailserver", "TestAlertTellsNothing"},
		{"pull_for_anybody", at("mailserver/pull.go", "if d.public || d.addressed(reader) {", "if d.public || !reader.IsZero() {"), "mailserver", "TestPullEnemies"},
		{"pull_by_any_server", at("mailserver/pull.go", "	if !ok {\n", "	if !ok && reader.IsZero() {\n"), "mailserver", "TestPullEnemies"},
		{"over_and_handed_out", at("mailserver/pull.go", "	if d.expired(now) {\n", "	if d.expired(now) && d.public {\n"), "mailserver", "TestOverIsNotPulled"},
		{"receipt_although_refused", at("mailserver/submit.go", "	if r.Err != nil {\n", "	if r.Err != nil && h.ID.IsZero() {\n"), "mailserver", "TestTwoDevices"},
		{"message_of_another_author", at("mailserver/submit.go", "if claim.From() != author.Address() {", "if claim.From().IsZero() {"), "mailserver", "TestRefusedSubmissions"},
		{"strangers_in_the_inbox", at("mailserver/alert.go", "	if v != store.Allow {\n", "	if v == store.Block {\n"), "mailserver", "TestRequests"},
		{"blob_of_another_message", at("mailserver/blobs.go", "	if !used {\n", "	if !used && id.IsZero() {\n"), "mailserver", "TestBlobRefusals"},
		{"suspended_writes", at("mailserver/caller.go", "if err == nil && acc.Suspended {", "if err == nil && acc.Suspended && acc.BytesUsed < 0 {"), "mailserver", "TestSuspended"},
		{"cursor_of_another_epoch", at("mailserver/inbox.go", "	if c.GetEpoch() != now.Epoch {\n		return 0, nil\n	}\n", ""), "mailserver", "TestRestoredCursor"},
	}
}

func clientFaults() []fault {
	return []fault{
		{"rewritten_history_taken", at("client/fetch.go", "if was := known[h.Version]; was != nil && was.ID != h.ID {", "if was := known[h.Version]; was != nil && was.ID.IsZero() {"), "client", "TestRewrittenHistories"},
		{"older_than_announced_shown", at("client/fetch.go", "p.known.Trouble != \"\" || newest >= p.known.Version {", "p.known.Trouble != \"\" || newest > 0 {"), "client", "TestRewrittenHistories"},
		{"sealed_to_the_disputed", at("client/lookup.go", "if err != nil || accepted != chain.Head().ID {", "if err != nil && accepted != chain.Head().ID {"), "client", "TestDisagreement"},
		{"edit_over_what_was_not_seen", at("client/edit.go", "if here := i.Head.Version; e.Base != 0 && e.Base != here {", "if here := i.Head.Version; e.Base > here {"), "client", "TestEditDraftReplacesKnowingly"},
		{"edit_made_twice", at("client/edit.go", "if slices.Contains(e.Tried, h.ID.String()) {", "if slices.Contains(e.Tried, h.MID.String()) {"), "client", "TestEditWhoseAnswerIsLost"},
	}
}

func doorFaults() []fault {
	return []fault{
		{"escape_reaches_the_terminal", at("cmd/adctl/output.go", "return r != '\\n' && r != '\\t' && !message.Visible(r)", "return r != '\\n' && r != '\\t' && r != 0x1b && !message.Visible(r)"), "cmd/adctl", "TestVisible"},
		{"restored_in_the_old_epoch", at("cmd/internal/daemon/backup.go", "return s.storeLog().RaiseEpoch(ctx)", "return nil"), "cmd/internal/daemon", "TestBackupKeepsEverything"},
	}
}
