package airdispatch_test

// floors says on which floor each room lies. Every directory with Go code
// has a line here, except what lies below cmd and tools: those are doors.
var floors = map[string]int{
	".": 6, // this package: it stands outside and looks at the whole

	"internal/town": 5, // puts everything together, as a door does

	"mailserver":     4,
	"client":         4,
	"whisper":        4,
	"whisper/web":    4,
	"whisper/screen": 4,

	"tracker": 3,
	"courier": 3,
	"relay":   3,
	"nearby":  3,
	"passer":  3,

	"rpc":             2,
	"store":           2,
	"store/blobfile":  2,
	"store/home":      2,
	"store/keyfile":   2,
	"store/memory":    2,
	"store/sqlite":    2,
	"store/storetest": 2,

	"internal/vectors": 2, // for the tests of the rooms above

	"message":       1,
	"store/durable": 1, // below the stores: how a file is written, whatever is in it

	"crypto":                            0,
	"wire":                              0,
	"wire/airdispatch/v1":               0,
	"wire/airdispatch/v1/wirev1connect": 0,
}

// doorFloor is the floor of everything below cmd and tools.
const doorFloor = 5

// An exception lets one file off one rule, for one subject, or for all of
// them when subject is empty. It must say why.
type exception struct {
	rule, file, subject, why string
}

// exceptions is short on purpose; one that excuses nothing is a fault too.
var exceptions = []exception{
	{"outside", "rpc/guard.go", "net.Dialer", "the one guarded dialer of the house, which checks the resolved address before it connects"},
}

// excuse returns the index of the exception that covers f, or -1.
func excuse(rule string, f fault) int {
	for i, e := range exceptions {
		if e.rule == rule && e.file == f.file && (e.subject == "" || e.subject == f.subject) {
			return i
		}
	}
	return -1
}

// The budgets. Below them lies what is aimed at: files of 100 to 300 lines,
// functions of 10 to 40.
const (
	maxFileLines     = 650
	maxFuncLines     = 80
	maxTestFuncLines = 120
	maxParams        = 5
	maxMethods       = 5
	minSentences     = 3 // of a package comment
)

// pureRooms hold values only: what they return depends on their arguments.
var pureRooms = []string{"crypto", "message"}

// pureForbidden are the imports by which the world would come into them.
var pureForbidden = []string{"net", "net/http", "os", "os/exec", "os/signal", "context", "log", "log/slog", "syscall"}

// clockReads are the functions of package time that read or start a clock.
var clockReads = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// randomImports may stand only where a Config is filled.
var randomImports = []string{"crypto/rand", "math/rand", "math/rand/v2"}

// outsideWorld names what opens a connection or a listener by itself; below
// the doors both come in through Config.
var outsideWorld = map[string][]string{
	"net": {
		"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer",
		"Listen", "ListenTCP", "ListenUDP", "ListenIP", "ListenUnix", "ListenUnixgram",
		"ListenMulticastUDP", "ListenPacket", "ListenConfig",
		"DefaultResolver", "LookupHost", "LookupIP", "LookupAddr", "LookupTXT", "LookupSRV", "LookupCNAME",
	},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer", "Listen"},
	"net/http": {
		"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm",
		"ListenAndServe", "ListenAndServeTLS",
	},
}

// cryptoBeyond says which rooms besides crypto may import which of the
// standard library's crypto packages.
var cryptoBeyond = map[string][]string{
	"rpc":           {"crypto/tls", "crypto/x509", "crypto/x509/pkix"},
	"relay":         {"crypto/tls"},
	"nearby":        {"crypto/tls"},
	"cmd":           {"crypto/tls", "crypto/x509", "crypto/x509/pkix", "crypto/rand"},
	"internal/town": {"crypto/tls", "crypto/x509", "crypto/x509/pkix", "crypto/rand"},
}

// fixedCalls make values that nobody can change, so they may stand at package
// level: errors, expressions, encodings, prefixes, lists read from a text.
var fixedCalls = []string{
	"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "strings.Fields",
	"base32.NewEncoding", "base64.NewEncoding", "netip.MustParsePrefix", "netip.MustParseAddr",
	"template.Must", "Code", "message.Code", "NewCode", "newCode", "message.NewCode",
}

// emptyNames say nothing about what is kept under them.
var emptyNames = []string{"util", "utils", "helper", "helpers", "common", "misc", "manager", "shared"}
