// Package capi calls liborlop, and is the one place of the module that does.
//
// It keeps the rules of orlop.h for its callers: strings and structs are copied into C memory for the time of a call, an error of
// the library becomes an [Error], buffers of the library are copied and freed, and a handle that has been closed is not used.
package capi
