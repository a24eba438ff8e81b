// Package beside tests that one process can use the Go library's store and orlop's on the same root at once.
package beside
