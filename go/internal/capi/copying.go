package capi

import (
	"bytes"
	"io"
	"sync"
)

const (
	// copySize is what is read at once: it stays in a processor's cache, where a whole pipe would not.
	copySize = 256 << 10
	// gathered is how much of small pieces is written at once. The library gathers as much itself before it looks at it.
	gathered = 128 << 10
	// emptyReads in a row are taken for a reader that will never give anything.
	emptyReads = 100
)

// buffers are used again and again, so that the garbage collector need not look after them.
var buffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// sink is where what a reader has is copied to. It tells the errors of the two sides apart, whoever of them does the copying.
type sink struct {
	to         io.Writer
	writeError error
}

// feed copies all that a reader has.
func feed(to io.Writer, from io.Reader) (readError, writeError error) {
	s := &sink{to: to}
	var err error
	if self, ok := from.(io.WriterTo); ok {
		// What lies in memory goes out from there.
		_, err = self.WriteTo(s)
	} else {
		_, err = s.ReadFrom(from)
	}
	if s.writeError != nil {
		return nil, s.writeError
	}
	return err, nil
}

// Write writes one piece.
func (s *sink) Write(piece []byte) (int, error) {
	if s.writeError != nil {
		return 0, s.writeError
	}
	n, err := s.to.Write(piece)
	if err == nil && n < len(piece) {
		err = io.ErrShortWrite
	}
	s.writeError = err
	return n, err
}

// ReadFrom copies through a buffer; a reader that has another one behind it, as those of bufio have, may offer that.
func (s *sink) ReadFrom(from io.Reader) (total int64, err error) {
	buffer := buffers.Get().(*[copySize]byte)
	defer buffers.Put(buffer)
	for filled, empty := 0, 0; ; {
		n, err := from.Read(buffer[filled:])
		filled += n
		total += int64(n)
		if empty++; n > 0 {
			empty = 0
		} else if err == nil && empty == emptyReads {
			err = io.ErrNoProgress
		}
		if filled >= gathered || err != nil && filled > 0 {
			if _, err := s.Write(buffer[:filled]); err != nil {
				return total, err
			}
			filled = 0
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// drain copies all that comes out of a pipe, and tells the error of the writer.
func drain(to io.Writer, pipe io.Reader) error {
	if memory, ok := to.(*bytes.Buffer); ok {
		// Of the others that read themselves most do so in pieces that are smaller than ours.
		_, err := memory.ReadFrom(pipe)
		return err
	}
	s := &sink{to: to}
	buffer := buffers.Get().(*[copySize]byte)
	defer buffers.Put(buffer)
	for {
		n, err := pipe.Read(buffer[:])
		if n > 0 {
			if _, err := s.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			// Of a pipe of ours only its end is one, and what the library has not written it tells itself.
			return nil
		}
	}
}
