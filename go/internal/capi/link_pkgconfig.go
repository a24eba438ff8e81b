//go:build !orlop_checkout

package capi

// #cgo pkg-config: orlop
import "C"
