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
// The lines of a call come before it returns, in its goroutine, those of calls at the same time perhaps with them: several goroutines
// may be in the function at once. It may call anything, the store as well. After another SetLog it may still get the lines that
// are being given out at that moment. Where a call has more than a MiB to tell, the rest is counted, and the count given as a line.
func SetLog(level slog.Level, to func(level slog.Level, line string)) error {
	return capi.SetLog(level, to)
}
