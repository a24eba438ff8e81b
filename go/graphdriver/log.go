package graphdriver

import (
	"log/slog"

	"github.com/orlop/orlop/go/internal/capi"
	"github.com/sirupsen/logrus"
)

// logLevel is the least that logrus lets through now, as the library's level.
func logLevel() slog.Level {
	switch level := logrus.GetLevel(); {
	case level >= logrus.DebugLevel:
		return slog.LevelDebug
	case level == logrus.InfoLevel:
		return slog.LevelInfo
	case level == logrus.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// toLogrus has logrus print a line of the library's.
func toLogrus(level slog.Level, line string) {
	levels := map[slog.Level]logrus.Level{
		slog.LevelError: logrus.ErrorLevel, slog.LevelWarn: logrus.WarnLevel,
		slog.LevelInfo: logrus.InfoLevel, slog.LevelDebug: logrus.DebugLevel,
	}
	logrus.StandardLogger().Log(levels[level], "overlay: "+line)
}

// setLog has the library's log printed by logrus, from the level on that it has now, unless the program has chosen another place.
func setLog() error { return capi.SetDefaultLog(logLevel(), toLogrus) }
