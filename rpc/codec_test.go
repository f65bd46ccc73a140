package rpc_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/wire/airdispatch/v1/wirev1connect"
)

// TestDenseCalls sends calls that would become far more memory than they are:
// they are refused before anything is made of them.
func TestDenseCalls(t *testing.T) {
	path, handler := wirev1connect.NewDirectoryHandler(wirev1connect.UnimplementedDirectoryHandler{}, rpc.Options(nil)...)
	empties := func(n int) []byte { return bytes.Repeat([]byte{0x0a, 0}, n) }
	objects := func(n int) []byte {
		return []byte(`{"queries":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}`)
	}
	tests := map[string]struct {
		form string
		body []byte
		want int
	}{
		"few":                      {"proto", empties(10), http.StatusNotImplemented},
		"four megabytes":           {"proto", empties(message.MaxCall / 2), http.StatusBadRequest},
		"few in JSON":              {"json", objects(10), http.StatusNotImplemented},
		"four megabytes in JSON":   {"json", objects(message.MaxCall/3 - 10), http.StatusBadRequest},
		"JSON that says so itself": {"json; charset=utf-8", objects(message.MaxCall/3 - 10), http.StatusBadRequest},
		"JSON of nothing":          {"json", nil, http.StatusBadRequest},
	}
	for name, test := range tests {
		r := httptest.NewRequest(http.MethodPost, path+"Lookup", bytes.NewReader(test.body))
		r.Header.Set("Content-Type", "application/"+test.form)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, test.want)
		}
	}
}
