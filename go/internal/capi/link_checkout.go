//go:build orlop_checkout

package capi

// The archive and not the shared library: what is built works wherever it is put, and after the checkout has gone.

// #cgo CFLAGS: -I${SRCDIR}/../../../include
// #cgo LDFLAGS: ${SRCDIR}/../../../target/capi/liborlop.a -lgcc_s -lm
import "C"
