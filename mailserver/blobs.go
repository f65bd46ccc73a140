package mailserver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"airdispatch/message"
	"airdispatch/rpc"
	"airdispatch/store"
	wirev1 "airdispatch/wire/airdispatch/v1"
)

const (
	// blobsPath is where blobs are, each under its id in hexadecimal.
	blobsPath = "/blobs/"
	// HaveHeader tells how many bytes of a blob there are.
	HaveHeader = "Airdispatch-Have"
	// blobBuffer is what one transfer holds in memory.
	blobBuffer = 128 << 10
)

// blobs answers for /blobs/: uploads of owners, downloads of readers.
func (s *Server) blobs(w http.ResponseWriter, r *http.Request) {
	err := s.serveBlob(w, r)
	if err == nil {
		return
	}
	if message.CodeOf(err) == message.Internal && r.Context().Err() == nil {
		s.c.Log.Error("blobs", "method", r.Method, "err", err)
	}
	rpc.Refuse(w, err)
}

// serveBlob does one request; an error means that nothing was answered yet.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request) error {
	raw, err := hex.DecodeString(strings.TrimPrefix(r.URL.Path, blobsPath))
	if err != nil {
		return fmt.Errorf("mailserver: blobs: a blob id has 64 hexadecimal digits: %w", message.Invalid)
	}
	id, err := message.IDFromBytes(raw)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut:
		return s.upload(w, r, id)
	case r.Method == http.MethodHead && !query.Has("mid"):
		return s.have(w, r, id)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return s.download(w, r, id, query)
	}
	w.Header().Set("Allow", "GET, HEAD, PUT")
	return fmt.Errorf("mailserver: blobs: method %s: %w", r.Method, message.Unsupported)
}

// header is the Authorization of a plain request; two become one that nobody signed.
func header(r *http.Request) string {
	return strings.Join(r.Header.Values("Authorization"), ", ")
}

// have tells an owner how many bytes there are of a blob: 200 for all of them,
// 206 for some or none. Of a whole blob that does not count towards the account
// it tells nothing: to list one, an owner reserves it first, by a PUT. A blob
// that is whole on the disk is marked so here too, because a server that was
// killed between the two would else call whole what no message may list.
func (s *Server) have(w http.ResponseWriter, r *http.Request, id message.ID) error {
	acc, err := s.account(r.Context(), header(r))
	if err != nil {
		return err
	}
	size, complete, err := s.c.Store.Blobs.Size(r.Context(), id)
	if err == nil && complete {
		err = s.c.Store.BlobIndex.Complete(r.Context(), acc.Address, id)
	}
	if errors.Is(err, message.NotFound) {
		size, complete, err = 0, false, nil
	}
	if err != nil {
		return err
	}
	answerHave(w, size, complete, http.StatusPartialContent)
	return nil
}

// answerHave answers with the number of bytes there are.
func answerHave(w http.ResponseWriter, size int64, complete bool, partial int) {
	w.Header().Set(HaveHeader, strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", "no-store")
	if complete {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(partial)
}

// upload appends to a blob. The blob counts towards the account before the
// first byte of it is read.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, id message.ID) error {
	ctx := r.Context()
	acc, err := s.account(ctx, header(r))
	if err != nil {
		return err
	}
	if acc.Suspended {
		return fmt.Errorf("mailserver: upload: %s is suspended: %w", acc.Address.Short(), message.Denied)
	}
	if err := s.rates.calls.take(acc.Address, 1); err != nil {
		return err
	}
	part, err := parseContentRange(r.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	if r.ContentLength >= 0 && r.ContentLength != part.end-part.off+1 {
		return fmt.Errorf("mailserver: upload: %d bytes for a range of %d: %w", r.ContentLength, part.end-part.off+1, message.Invalid)
	}
	blob := store.BlobRef{ID: id, Size: part.total}
	have, complete, err := s.reserve(ctx, acc.Address, blob)
	if err != nil {
		return err
	}
	if !complete {
		if have == part.total {
			// A server that was killed over the last byte has all of them, and has not compared them.
			part.off = have
		}
		if have != part.off {
			w.Header().Set(HaveHeader, strconv.FormatInt(have, 10))
			return fmt.Errorf("mailserver: upload: at %d where %d is due: %w", part.off, have, message.Conflict)
		}
		body := http.MaxBytesReader(w, r.Body, max(0, part.end-part.off+1))
		if have, err = s.write(ctx, blob, part.off, body); err != nil {
			if errors.Is(err, message.BadSignature) {
				// All of it was dropped, so it counts no longer.
				err = errors.Join(err, s.c.Store.BlobIndex.Release(context.WithoutCancel(ctx), acc.Address, id))
			}
			return err
		}
		complete = have == part.total
	}
	if complete {
		if err := s.c.Store.BlobIndex.Complete(ctx, acc.Address, id); err != nil {
			return err
		}
	}
	answerHave(w, have, complete, http.StatusAccepted)
	return nil
}

// reserve counts a blob towards an account and tells how much of it is there.
func (s *Server) reserve(ctx context.Context, owner message.Address, b store.BlobRef) (int64, bool, error) {
	s.collecting.RLock()
	defer s.collecting.RUnlock()
	if err := s.c.Store.BlobIndex.Reserve(ctx, owner, b, time.Now()); err != nil {
		return 0, false, err
	}
	size, complete, err := s.c.Store.Blobs.Size(ctx, b.ID)
	if errors.Is(err, message.NotFound) {
		return 0, false, nil
	}
	return size, complete, err
}

// contentRange is bytes off to end, inclusive, of total.
type contentRange struct{ off, end, total int64 }

// parseContentRange reads "bytes <off>-<end>/<total>", strictly.
func parseContentRange(text string) (contentRange, error) {
	var c contentRange
	fail := fmt.Errorf("mailserver: upload: the Content-Range is bytes FIRST-LAST/TOTAL: %w", message.Invalid)
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	off, end, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return c, fail
	}
	for _, f := range []struct {
		text  string
		field *int64
	}{{off, &c.off}, {end, &c.end}, {total, &c.total}} {
		n, err := strconv.ParseUint(f.text, 10, 62)
		if err != nil || (f.text[0] == '0' && len(f.text) > 1) {
			return c, fail
		}
		*f.field = int64(n)
	}
	if c.total > message.MaxBlob {
		return c, fmt.Errorf("mailserver: upload: a blob of %d bytes: %w", c.total, message.TooLarge)
	}
	if c.off > c.end || c.end >= c.total {
		return c, fail
	}
	return c, nil
}

// download hands out a blob of a message: an owner gets it through this server
// from wherever the author keeps it, everybody else only what is kept here.
func (s *Server) download(w http.ResponseWriter, r *http.Request, id message.ID, query url.Values) error {
	var ref message.Ref
	var err error
	if ref.From, err = message.ParseAddress(query.Get("from")); err != nil {
		return err
	}
	if ref.MID, err = message.ParseMID(query.Get("mid")); err != nil {
		return err
	}
	var reader []byte
	if text := query.Get("for"); text != "" {
		a, err := message.ParseAddress(text)
		if err != nil {
			return err
		}
		reader = a.Bytes()
	} else if h := header(r); h != "" {
		return s.downloadOwn(w, r, id, ref)
	}
	who, err := s.pullReader(r.Context(), asker{header(r), rpc.RemoteOf(r, s.c.Proxied)}, reader, nil)
	if err != nil {
		return err
	}
	return s.serveKept(w, r, id, ref, who)
}

// downloadOwn serves an owner of this server: what is the owner's own from the
// disk, everything else from the author's server.
func (s *Server) downloadOwn(w http.ResponseWriter, r *http.Request, id message.ID, ref message.Ref) error {
	acc, err := s.account(r.Context(), header(r))
	if err != nil {
		return err
	}
	if err := s.rates.calls.take(acc.Address, 1); err != nil {
		return err
	}
	if acc.Address == ref.From {
		return s.sendBlob(w, r, id, ref)
	}
	return s.proxyBlob(w, r, id, ref, acc.Address)
}

// serving is one version handed to one reader.
type serving struct {
	ref     message.Ref
	reader  message.Address
	version uint64
}

// serveKept hands out a blob of a message that was submitted here, to whoever
// may pull that message. The first handing-out is marked like that of a payload.
func (s *Server) serveKept(w http.ResponseWriter, r *http.Request, id message.ID, ref message.Ref, reader message.Address) error {
	versions, d, err := s.allowed(r.Context(), ref, reader)
	if err != nil {
		return err
	}
	if d.tombstone || d.expired(time.Now()) {
		return fmt.Errorf("mailserver: blobs: the message is over: %w", message.NotFound)
	}
	newest := versions[len(versions)-1].Number
	what := serving{ref, reader, newest}
	if _, had := s.served.GetIfPresent(what); !d.public && !had && r.Method == http.MethodGet {
		if _, err := store.ServeOne(r.Context(), s.c.Store.Outgoing, store.ServeItem{Ref: ref, After: newest - 1}, reader, time.Now()); err != nil {
			return err
		}
		s.served.Set(what, true)
	}
	return s.sendBlob(w, r, id, ref)
}

// sendBlob sends a blob that a message here lists.
func (s *Server) sendBlob(w http.ResponseWriter, r *http.Request, id message.ID, ref message.Ref) error {
	used, err := s.c.Store.BlobIndex.Used(r.Context(), ref, id)
	if err != nil {
		return err
	}
	if !used {
		return fmt.Errorf("mailserver: blobs: not of this message: %w", message.NotFound)
	}
	b, err := s.c.Store.Blobs.Open(r.Context(), id)
	if err != nil {
		return err
	}
	defer b.Close() // opened for reading only
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, no-transform")
	w.Header().Set("ETag", `"`+id.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, b)
	return nil
}

// proxyBlob streams a blob from the author's server to an owner here. What the
// owner may have, the origin decides; this server only lends its name.
func (s *Server) proxyBlob(w http.ResponseWriter, r *http.Request, id message.ID, ref message.Ref, owner message.Address) error {
	res, err := s.openBlob(r, id, ref, owner)
	if err != nil {
		return err
	}
	defer res.Body.Close() // what matters was read, or the client has gone
	// Not the origin's type: it would be shown under this server's name.
	w.Header().Set("Content-Type", "application/octet-stream")
	for _, h := range []string{"Content-Length", "Content-Range", "Accept-Ranges", "ETag"} {
		if v := res.Header.Get(h); v != "" {
			w.Header().Set(h, v)
		}
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, no-transform")
	w.WriteHeader(res.StatusCode)
	if _, err := io.CopyBuffer(w, res.Body, make([]byte, blobBuffer)); err != nil {
		// The answer has begun; only breaking it off says that it is not whole.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// openBlob asks the author's servers for a blob, the known ones first.
func (s *Server) openBlob(r *http.Request, id message.ID, ref message.Ref, owner message.Address) (*http.Response, error) {
	var last error
	for _, fresh := range []bool{false, true} {
		o, err := s.origin(r.Context(), ref.From, fresh)
		if err != nil {
			last = err
			continue
		}
		for _, server := range o.servers {
			res, err := s.askBlob(r, server, id, ref, owner)
			if errors.Is(err, message.NeedBundle) {
				// A pull shows the origin who is asking; then the blob is asked for again.
				item := &wirev1.FetchItem{From: ref.From.Bytes(), Mid: ref.MID.Bytes(), AfterVersion: message.MaxVersions}
				if _, err = s.ask(r.Context(), server, owner, []*wirev1.FetchItem{item}); err == nil {
					res, err = s.askBlob(r, server, id, ref, owner)
				}
			}
			if err == nil {
				return res, nil
			}
			last = err
			if !errors.Is(err, message.Unavailable) && !errors.Is(err, message.NotFound) {
				return nil, err
			}
		}
	}
	return nil, last
}

// askBlob makes one request to one server. The client's range passes through.
func (s *Server) askBlob(r *http.Request, server *message.Identity, id message.ID, ref message.Ref, owner message.Address) (*http.Response, error) {
	peer, err := s.c.Client.Peer(server)
	if err != nil {
		return nil, err
	}
	query := url.Values{"from": {ref.From.String()}, "mid": {ref.MID.String()}, "for": {owner.String()}}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, blobsPath+id.String()+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("mailserver: blobs: %w", errors.Join(err, message.Internal))
	}
	for _, h := range []string{"Range", "If-Range"} {
		if v := r.Header.Get(h); v != "" {
			req.Header.Set(h, v)
		}
	}
	return peer.Do(req)
}
