package main

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
)

// writeTar writes a tar of files with bytes that do not repeat.
func writeTar(path string, files, size int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	writer := tar.NewWriter(file)
	random := rand.NewChaCha8([32]byte{1})
	content := make([]byte, size)
	for i := range files {
		header := &tar.Header{Name: fmt.Sprintf("d%d/f%d", i%100, i), Mode: 0o644, Size: int64(size)}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		if _, err := random.Read(content); err != nil {
			return err
		}
		if _, err := writer.Write(content); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return file.Close()
}
