package daemon

import (
	"io"
	"log/slog"
)

// newLog makes the program's logger. Settings were checked, so the level can
// be read.
func newLog(w io.Writer, s LogSettings) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.Level))
	options := &slog.HandlerOptions{Level: level}
	if s.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
