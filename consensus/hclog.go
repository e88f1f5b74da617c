package consensus

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLog gives raft's messages to slog. Raft's "info" is what an operator need not read.
type raftLog struct {
	log  *slog.Logger
	name string
	with []any
}

func newRaftLog(l *slog.Logger) hclog.Logger { return &raftLog{log: l, name: "raft"} }

func level(l hclog.Level) slog.Level {
	switch {
	case l >= hclog.Error:
		return slog.LevelError
	case l == hclog.Warn:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

func (l *raftLog) Log(v hclog.Level, msg string, args ...any) {
	l.log.Log(context.Background(), level(v), l.name+": "+msg, append(l.with[:len(l.with):len(l.with)], args...)...)
}
func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) enabled(v hclog.Level) bool { return l.log.Enabled(context.Background(), level(v)) }
func (l *raftLog) IsTrace() bool              { return l.enabled(hclog.Trace) }
func (l *raftLog) IsDebug() bool              { return l.enabled(hclog.Debug) }
func (l *raftLog) IsInfo() bool               { return l.enabled(hclog.Info) }
func (l *raftLog) IsWarn() bool               { return l.enabled(hclog.Warn) }
func (l *raftLog) IsError() bool              { return l.enabled(hclog.Error) }

func (l *raftLog) ImpliedArgs() []any { return l.with }
func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{log: l.log, name: l.name, with: append(l.with[:len(l.with):len(l.with)], args...)}
}
func (l *raftLog) Name() string { return l.name }
func (l *raftLog) Named(name string) hclog.Logger {
	return &raftLog{log: l.log, name: l.name + "." + name, with: l.with}
}
func (l *raftLog) ResetNamed(name string) hclog.Logger {
	return &raftLog{log: l.log, name: name, with: l.with}
}

// SetLevel does nothing: slog's handler decides.
func (l *raftLog) SetLevel(hclog.Level) {}

// GetLevel is what slog would let through.
func (l *raftLog) GetLevel() hclog.Level {
	if l.IsDebug() {
		return hclog.Debug
	}
	return hclog.Warn
}

// StandardLogger and StandardWriter serve libraries that know only the old package.
func (l *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

// StandardWriter is part of hclog.Logger.
func (l *raftLog) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
