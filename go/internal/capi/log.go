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
	logTo      atomic.Pointer[logTarget]
)

// logTarget is a function, and the least level of what it gets.
type logTarget struct {
	level slog.Level
	to    LogFunc
}

// SetLog gives the library's log, lines of that level and above, to a function; nil silences it.
func SetLog(level slog.Level, to LogFunc) error {
	settingLog.Lock()
	defer settingLog.Unlock()
	logChosen = true
	return setLog(level, to)
}

// SetDefaultLog is SetLog where that has never been called; the function is always the same one.
func SetDefaultLog(level slog.Level, to LogFunc) error {
	settingLog.Lock()
	defer settingLog.Unlock()
	if logChosen {
		return nil
	}
	if now := logTo.Load(); now != nil && now.level == level {
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
	if err := failure(C.orlop_set_log(C.orlop_log_fn(C.orlop_go_log), nil, libraryLevel(level), &e), e); err != nil {
		return err
	}
	// What waits was for the function before, and of its level.
	takeLines()
	logTo.Store(&logTarget{level, to})
	return nil
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

// logLine is a line that waits.
type logLine struct {
	level slog.Level
	text  string
}

// takeLines takes the lines that wait; the last one tells how many there was no room for.
func takeLines() (lines []logLine) {
	var lost C.uint64_t
	for line := C.orlop_go_take_lines(&lost); line != nil; {
		next := line.next
		lines = append(lines, logLine{goLevel(line.level), C.GoString(line.text)})
		C.free(unsafe.Pointer(line))
		line = next
	}
	if lost > 0 {
		lines = append(lines, logLine{slog.LevelWarn, fmt.Sprintf("%d more lines of the log came at once and are lost", uint64(lost))})
	}
	return lines
}

// passLog gives the lines that wait to the function. It runs at the end of each call, when the goroutine has nothing of the
// library's and nothing of the caller's: whatever the function does, a call of the library included, nobody waits for it.
func passLog() {
	if atomic.LoadUint32((*uint32)(&C.orlop_go_lines_wait)) == 0 {
		return
	}
	lines, target := takeLines(), logTo.Load()
	if target == nil {
		return
	}
	for _, line := range lines {
		// One may have come before the level was raised.
		if line.level >= goLevel(libraryLevel(target.level)) {
			target.to(line.level, line.text)
		}
	}
}
