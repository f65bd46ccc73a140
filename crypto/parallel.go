package crypto

import (
	"io"
	"runtime"
	"sync"
)

// piece is one part of a stream on its way through the workers.
type piece struct {
	data []byte // what was read
	i    uint64
	last bool
	done chan struct{} // closed when out is there
	out  []byte
}

// inOrder reads r in pieces of size bytes, lets work turn each into p.out on all processors, and gives the results to take
// in order. Memory is bounded by three pieces per processor. All goroutines have ended when it returns; the first error
// of r or take ends it early.
func inOrder(r io.Reader, size int, work func(*piece), take func(*piece) error) error {
	workers := runtime.GOMAXPROCS(0)
	free := make(chan *piece, 3*workers)
	for range cap(free) {
		free <- &piece{data: make([]byte, size)}
	}
	todo, order, stop := make(chan *piece, cap(free)), make(chan *piece, cap(free)), make(chan struct{})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for p := range todo {
				work(p)
				close(p.done)
			}
		})
	}
	var readErr error
	group.Go(func() {
		defer close(order)
		defer close(todo)
		readErr = feed(newSplitter(r, size), free, todo, order, stop)
	})
	var takeErr error
	for p := range order {
		<-p.done
		if takeErr != nil {
			continue
		}
		if takeErr = take(p); takeErr != nil {
			close(stop)
			continue
		}
		free <- p
	}
	group.Wait()
	if takeErr != nil {
		return takeErr
	}
	return readErr
}

// feed reads pieces into free memory and passes them on until the stream ends or stop is closed.
func feed(in *splitter, free <-chan *piece, todo, order chan<- *piece, stop <-chan struct{}) error {
	for {
		var p *piece
		select {
		case p = <-free:
		case <-stop:
			return nil
		}
		data, i, last, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p.data = append(p.data[:0], data...)
		p.i, p.last, p.done = i, last, make(chan struct{})
		todo <- p
		order <- p
	}
}

// SealTo writes the ciphertext of all that r gives to w, sealing on all processors within a few chunks of memory. It
// returns the number of bytes written; when it fails, w holds a stream without an end, which opens to ErrTruncated.
func (k PayloadKey) SealTo(w io.Writer, r io.Reader) (int64, error) {
	if k.aead == nil {
		return 0, errNoKey
	}
	var written int64
	err := inOrder(r, ChunkSize, func(p *piece) {
		nonce := chunkNonce(p.i, p.last)
		p.out = k.aead().Seal(p.out[:0], nonce[:], p.data, nil)
	}, func(p *piece) error {
		n, err := w.Write(p.out)
		written += int64(n)
		return err
	})
	return written, err
}
