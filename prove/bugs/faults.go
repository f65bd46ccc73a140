package main

// faults are all rows.
func faults() []fault {
	return append(cryptoFaults(), messageFaults()...)
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
	}
}

func messageFaults() []fault {
	return []fault{
		{"commitment_unchecked", at("message/open.go", "if commit != h.Commit {", "if commit == [32]byte{} {"), "message", "TestCommitmentToAnotherKey"},
		{"fork_of_equal_rank", at("message/fork.go", "case x.rank < y.rank:", "case x.rank <= y.rank:"), "message", "TestCompareTie"},
	}
}
