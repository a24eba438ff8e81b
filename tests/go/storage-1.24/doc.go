// Package storage124 pins the old version of the Go library whose command the tests run beside orlop.
package storage124
