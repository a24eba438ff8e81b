package orlop

import (
	"log/slog"

	"github.com/orlop/orlop/go/internal/capi"
)

// SetLog gives the library's log, what has at least that level, to a function, for the whole process; nil silences it, as it is at
// first, unless the program has the package graphdriver, which gives it to logrus:
//
//	orlop.SetLog(slog.LevelWarn, func(level slog.Level, line string) { slog.Log(context.Background(), level, line) })
//
// The lines of a call come at the latest when it ends, in the goroutine of any call that ends then, not while the library works: several
// goroutines may be in the function at once, and what a [Store] says while it is freed may come with the next call. All that the
// ending call has used is free by then: the function may call the store, and close its [Progress] and file. If it panics, so does
// the call, whose result is lost.
//
// After another SetLog the function may still get the lines that are being given out at that moment; lines that wait are dropped.
// Where more than a MiB waits, the rest is counted, and the count given as a line.
func SetLog(level slog.Level, to func(level slog.Level, line string)) error {
	return capi.SetLog(level, to)
}
