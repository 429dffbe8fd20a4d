package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// logs puts one line per event on standard error. For people that is
//
//	2026-03-01T02:59:07Z WARN  backoff   that failed: ...; trying again in 2 s
//
// with the time in UTC, as in the status file and in the API server's log; for
// programs a JSON object with the same and more.
type logs struct {
	zap     *zap.Logger
	queue   *queue
	console bool

	mu      sync.Mutex
	node    string // of the last report seen: kubeadm's own output has none
	attempt int
}

func openLogs(w io.Writer, format, level string) *logs {
	l := &logs{console: format != "json"}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", MessageKey: "msg",
		EncodeTime: func(t time.Time, to zapcore.PrimitiveArrayEncoder) {
			to.AppendString(t.UTC().Format("2006-01-02T15:04:05.000Z"))
		},
		EncodeLevel: zapcore.LowercaseLevelEncoder,
	})
	if l.console {
		encoder = zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
			TimeKey: "ts", LevelKey: "level", MessageKey: "msg", ConsoleSeparator: " ",
			EncodeTime:  func(t time.Time, to zapcore.PrimitiveArrayEncoder) { to.AppendString(t.UTC().Format(time.RFC3339)) },
			EncodeLevel: wideLevel,
		})
	}
	l.queue = newQueue(w, func(n int) []byte {
		message, fields := l.words(join.Event{Message: fmt.Sprintf("%d lines of this log were lost: nobody read it", n)})
		line, err := encoder.EncodeEntry(zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: message}, fields)
		if err != nil {
			return nil
		}
		return line.Bytes()
	})
	threshold, err := zapcore.ParseLevel(level)
	if err != nil {
		threshold = zapcore.InfoLevel
	}
	l.zap = zap.New(zapcore.NewCore(encoder, l.queue, threshold))
	return l
}

// wideLevel keeps the columns straight, and lets what matters stand out.
func wideLevel(level zapcore.Level, to zapcore.PrimitiveArrayEncoder) {
	word := level.String()
	if level >= zapcore.WarnLevel {
		word = level.CapitalString()
	}
	to.AppendString(fmt.Sprintf("%-5s", word))
}

var levels = map[join.Severity]zapcore.Level{
	join.Detail: zapcore.DebugLevel, join.Info: zapcore.InfoLevel, join.Warning: zapcore.WarnLevel,
}

// event writes one of the library's.
func (l *logs) event(e join.Event) {
	if e.Severity != join.Detail {
		l.mu.Lock()
		l.node, l.attempt = e.Report.Node.Name, e.Report.Counts.Attempts
		l.mu.Unlock()
	}
	l.line(levels[e.Severity], e)
}

// say writes a warning of the program's own.
func (l *logs) say(message, hint string) {
	l.line(zapcore.WarnLevel, join.Event{Time: time.Now(), Message: message, Hint: hint})
}

// note writes what is no warning.
func (l *logs) note(message string) {
	l.line(zapcore.InfoLevel, join.Event{Time: time.Now(), Message: message})
}

// end writes how it ended: standard error alone must tell that.
func (l *logs) end(rep join.Report) {
	level := zapcore.InfoLevel
	if *rep.Result != join.Success {
		level = zapcore.ErrorLevel
	}
	l.line(level, join.Event{
		Time: time.Now(), Phase: join.Done, Message: fmt.Sprintf("%s (exit status %d): %s", rep.Reason, *rep.ExitCode, rep.Message), Hint: rep.Hint,
	})
}

// plain writes text as it is.
func (l *logs) plain(text string) { _, _ = l.queue.Write([]byte(text)) }

func (l *logs) prose() bool { return l.console }

func (l *logs) close(limit time.Duration) { l.queue.close(limit) }

func (l *logs) line(level zapcore.Level, e join.Event) {
	entry := l.zap.Check(level, "")
	if entry == nil {
		return
	}
	var fields []zap.Field
	entry.Message, fields = l.words(e)
	if !e.Time.IsZero() {
		entry.Time = e.Time
	}
	entry.Write(fields...)
}

// words are the message and, for programs, all that belongs to it.
func (l *logs) words(e join.Event) (string, []zap.Field) {
	if l.console {
		phase := e.Phase
		if phase == "" {
			phase = "nodejoin"
		}
		message := e.Message
		if e.Hint != "" {
			message += "; " + e.Hint
		}
		return fmt.Sprintf("%-8s  %s", phase, oneLine(message)), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.Message, []zap.Field{
		zap.String("phase", string(e.Phase)), zap.String("hint", e.Hint), zap.Bool("repeat", e.Repeat),
		zap.String("node", l.node), zap.Int("attempt", l.attempt),
	}
}

// oneLine keeps an event on its line, and keeps what a server or a kubelet
// said from steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
}
