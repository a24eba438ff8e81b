// Takes tar streams apart and together with the Go implementation of the tar-split format.
//
// It reads commands from its standard input, one a line, fields between tabs, and answers each with a line, "ok" or
// "error: " and why:
//
//	disassemble <tar> <log>        writes the log of a stream
//	assemble <log> <pack> <tar>    writes the stream of a log; the pack holds names and contents of its files in turn,
//	                               each preceded by its length in 8 bytes, big-endian
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// pack serves contents by the exact name of the member, whatever bytes that has.
type pack map[string][]byte

func (p pack) Get(name string) (io.ReadCloser, error) {
	content, ok := p[name]
	if !ok {
		return nil, fmt.Errorf("%q is not in the pack", name)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

func readPack(path string) (pack, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	contents := pack{}
	next := func() []byte {
		length := binary.BigEndian.Uint64(data)
		item := data[8 : 8+length]
		data = data[8+length:]
		return item
	}
	for len(data) > 0 {
		name := next()
		contents[string(name)] = next()
	}
	return contents, nil
}

func disassemble(tarPath, logPath string) error {
	tarball, err := os.Open(tarPath)
	if err != nil {
		return err
	}
	defer tarball.Close()
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	buffered := bufio.NewWriter(log)
	stream, done, err := asm.NewInputTarStreamWithDone(tarball, storage.NewJSONPacker(buffered), storage.NewDiscardFilePutter())
	if err != nil {
		return err
	}
	defer stream.Close()
	_, copyErr := io.Copy(io.Discard, stream)
	if err := <-done; err != nil {
		return err
	}
	if copyErr != nil {
		return copyErr
	}
	return buffered.Flush()
}

func assemble(logPath, packPath, tarPath string) error {
	log, err := os.Open(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	contents, err := readPack(packPath)
	if err != nil {
		return err
	}
	tarball, err := os.Create(tarPath)
	if err != nil {
		return err
	}
	defer tarball.Close()
	out := bufio.NewWriter(tarball)
	if err := asm.WriteOutputTarStream(contents, storage.NewJSONUnpacker(bufio.NewReader(log)), out); err != nil {
		return err
	}
	return out.Flush()
}

func run() error {
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		fields := bytes.Split(commands.Bytes(), []byte{'\t'})
		arg := func(i int) string { return string(fields[i]) }
		var err error
		switch {
		case len(fields) == 3 && arg(0) == "disassemble":
			err = disassemble(arg(1), arg(2))
		case len(fields) == 4 && arg(0) == "assemble":
			err = assemble(arg(1), arg(2), arg(3))
		default:
			err = fmt.Errorf("unknown command %q", commands.Text())
		}
		if err == nil {
			fmt.Println("ok")
		} else {
			fmt.Printf("error: %q\n", err.Error())
		}
	}
	return commands.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
