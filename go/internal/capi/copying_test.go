package capi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces remembers the sizes of what is written.
type pieces struct {
	bytes.Buffer
	sizes []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return p.Buffer.Write(b)
}

func TestFeedCopiesAll(t *testing.T) {
	text := strings.Repeat("0123456789abcde", 100_000)
	plain := func() io.Reader { return struct{ io.Reader }{strings.NewReader(text)} }
	for name, test := range map[string]struct {
		from  io.Reader
		least int // size of all pieces but the last
	}{
		"plain":                {plain(), gathered},
		"small pieces":         {bufio.NewReaderSize(iotest.HalfReader(bufio.NewReaderSize(plain(), 16)), 16), gathered},
		"data with the end":    {iotest.DataErrReader(plain()), gathered},
		"memory":               {strings.NewReader(text), len(text)},
		"a buffer in between":  {bufio.NewReader(plain()), gathered},
		"several one by one":   {io.MultiReader(strings.NewReader(text[:70_000]), strings.NewReader(text[70_000:])), 70_000},
		"a part of a reader":   {io.LimitReader(plain(), int64(len(text))), gathered},
		"a section of a file":  {io.NewSectionReader(strings.NewReader("x"+text), 1, int64(len(text))), gathered},
		"now and then nothing": {&hesitant{from: plain()}, gathered},
	} {
		var to pieces
		readError, writeError := feed(&to, test.from)
		if readError != nil || writeError != nil || to.String() != text {
			t.Errorf("%s: %v, %v, %d bytes", name, readError, writeError, to.Len())
		}
		for i, size := range to.sizes {
			if size < test.least && i < len(to.sizes)-1 {
				t.Errorf("%s: pieces of %v", name, to.sizes)
				break
			}
		}
	}
}

// hesitant gives nothing every other time.
type hesitant struct {
	from io.Reader
	turn bool
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.turn = !h.turn; h.turn {
		return 0, nil
	}
	return h.from.Read(p)
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Whoever copies, the error of the reader is told from that of the writer; what came before it has been written.
func TestFeedTellsErrorsApart(t *testing.T) {
	mine := errors.New("mine")
	refuse := writer(func([]byte) (int, error) { return 0, mine })
	cut := writer(func(p []byte) (int, error) { return len(p) - 1, nil })
	for name, from := range map[string]func() io.Reader{
		"plain":  func() io.Reader { return struct{ io.Reader }{strings.NewReader("data")} },
		"memory": func() io.Reader { return strings.NewReader("data") },
		"buffer": func() io.Reader { return bufio.NewReader(struct{ io.Reader }{strings.NewReader("data")}) },
	} {
		if readError, writeError := feed(refuse, from()); readError != nil || writeError != mine {
			t.Errorf("%s: %v, %v", name, readError, writeError)
		}
		if readError, writeError := feed(cut, from()); readError != nil || writeError != io.ErrShortWrite {
			t.Errorf("%s: %v, %v", name, readError, writeError)
		}
		for how, failing := range map[string]io.Reader{
			"itself":   io.MultiReader(from(), iotest.ErrReader(mine)),
			"buffered": bufio.NewReader(io.MultiReader(from(), iotest.ErrReader(mine))),
		} {
			var to pieces
			if readError, writeError := feed(&to, failing); readError != mine || writeError != nil || to.String() != "data" {
				t.Errorf("%s, %s: %v, %v, %q", name, how, readError, writeError, to.String())
			}
		}
	}
	never := writer(nil)
	if readError, _ := feed(never, iotest.ErrReader(nil)); readError != io.ErrNoProgress {
		t.Error(readError)
	}
}

func TestDrain(t *testing.T) {
	text := strings.Repeat("0123456789abcde", 100_000)
	var memory bytes.Buffer
	var plain pieces
	for _, to := range []io.Writer{&memory, &plain, bufio.NewWriter(io.Discard)} {
		if err := drain(to, strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	}
	if memory.String() != text || plain.String() != text {
		t.Error("another text")
	}
	if err := drain(writer(func(p []byte) (int, error) { return len(p) / 2, nil }), strings.NewReader(text)); err != io.ErrShortWrite {
		t.Error(err)
	}
}
