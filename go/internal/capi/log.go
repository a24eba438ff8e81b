package capi

// #include <stdlib.h>
// #include <orlop.h>
// #include "log_queue.h"
import "C"

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"unsafe"
)

// LogFunc gets the lines of the library's log.
type LogFunc func(level slog.Level, line string)

var (
	// settingLog is held while the log is set, so that the function and the library's level are those of one call.
	settingLog sync.Mutex
	logChosen  bool
	logTo      atomic.Pointer[LogFunc]
)

// SetLog gives the library's log, lines of that level and above, to a function; nil silences it.
func SetLog(level slog.Level, to LogFunc) error {
	settingLog.Lock()
	defer settingLog.Unlock()
	logChosen = true
	return setLog(level, to)
}

// SetDefaultLog is SetLog where that has never been called.
func SetDefaultLog(level slog.Level, to LogFunc) error {
	settingLog.Lock()
	defer settingLog.Unlock()
	if logChosen {
		return nil
	}
	return setLog(level, to)
}

func setLog(level slog.Level, to LogFunc) error {
	var e *C.orlop_error
	if to == nil {
		logTo.Store(nil)
		return failure(C.orlop_set_log(nil, nil, C.ORLOP_LOG_OFF, &e), e)
	}
	logTo.Store(&to)
	return failure(C.orlop_set_log(C.orlop_log_fn(C.orlop_go_log), nil, libraryLevel(level), &e), e)
}

func libraryLevel(level slog.Level) C.uint32_t {
	switch {
	case level <= slog.LevelDebug:
		return C.ORLOP_LOG_DEBUG
	case level <= slog.LevelInfo:
		return C.ORLOP_LOG_INFO
	case level <= slog.LevelWarn:
		return C.ORLOP_LOG_WARN
	}
	return C.ORLOP_LOG_ERROR
}

func goLevel(level C.uint32_t) slog.Level {
	switch level {
	case C.ORLOP_LOG_ERROR:
		return slog.LevelError
	case C.ORLOP_LOG_WARN:
		return slog.LevelWarn
	case C.ORLOP_LOG_INFO:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// passLog gives the lines that wait to the function. It runs at the end of each call, when the goroutine has nothing of the
// library's: whatever the function does, a call of the library included, nobody waits for it.
func passLog() {
	if atomic.LoadUint32((*uint32)(&C.orlop_go_lines_wait)) == 0 {
		return
	}
	var lost C.uint64_t
	line := C.orlop_go_take_lines(&lost)
	to := logTo.Load()
	for line != nil {
		level, text, next := goLevel(line.level), C.GoString(line.text), line.next
		C.free(unsafe.Pointer(line))
		line = next
		if to != nil {
			(*to)(level, text)
		}
	}
	if to != nil && lost > 0 {
		(*to)(slog.LevelWarn, fmt.Sprintf("%d more lines of the log came at once and are lost", uint64(lost)))
	}
}
