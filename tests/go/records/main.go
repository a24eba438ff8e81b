// Reads and writes records as the Go library does: each line of the input is a kind of record, a blank and a file in
// base64; each line of the output is the file after decoding and encoding, in base64, or "error" and why.
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	jsoniter "github.com/json-iterator/go"
	"go.podman.io/storage"
)

var json = jsoniter.ConfigCompatibleWithStandardLibrary

// The library keeps this type to itself.
type mountPoint struct {
	ID         string `json:"id"`
	MountPoint string `json:"path"`
	MountCount int    `json:"count"`
}

func again[T any](file []byte) ([]byte, error) {
	records := []*T{}
	if len(file) != 0 {
		if err := json.Unmarshal(file, &records); err != nil {
			return nil, err
		}
	}
	// As the library does when it saves: from a list of its own.
	list := make([]*T, 0, len(records))
	list = append(list, records...)
	return json.Marshal(&list)
}

func main() {
	kinds := map[string]func([]byte) ([]byte, error){
		"layers":      again[storage.Layer],
		"images":      again[storage.Image],
		"containers":  again[storage.Container],
		"mountpoints": again[mountPoint],
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		kind, text, _ := strings.Cut(lines.Text(), " ")
		file, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			file, err = kinds[kind](file)
		}
		if err != nil {
			fmt.Printf("error %q\n", err)
			continue
		}
		fmt.Println(base64.StdEncoding.EncodeToString(file))
	}
}
