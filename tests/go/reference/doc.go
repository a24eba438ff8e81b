// Package reference pins the Go programs that the interop tests compare with.
package reference
