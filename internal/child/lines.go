package child

import (
	"bytes"
	"io"
	"strings"
)

// maxLine bounds what one line may hold in memory.
const maxLine = 64 << 10

// cutMark ends a line that was cut.
const cutMark = " [cut]"

// lines calls line for every line of r until r ends or fails; a last line without a newline counts.
func lines(r io.Reader, line func(string)) {
	if line == nil {
		_, _ = io.Copy(io.Discard, r)
		return
	}
	var (
		held []byte
		over bool
		buf  = make([]byte, 16<<10)
	)
	emit := func() {
		line(text(held, over))
		held, over = held[:0], false
	}
	for {
		n, err := r.Read(buf)
		rest := buf[:n]
		for len(rest) > 0 {
			part, tail, whole := bytes.Cut(rest, []byte{'\n'})
			if room := maxLine - len(held); len(part) > room {
				part, over = part[:room], true
			}
			held = append(held, part...)
			if whole {
				emit()
			}
			rest = tail
		}
		if err != nil {
			if len(held) > 0 {
				emit()
			}
			return
		}
	}
}

// text makes a line of what was held. A line that was too long is cut at a space: a cut through the middle of a token would
// leave a half that no redactor recognises.
func text(held []byte, over bool) string {
	if over {
		held = held[:bytes.LastIndexAny(held, " \t")+1]
		return strings.ToValidUTF8(string(bytes.TrimRight(held, " \t")), "\uFFFD") + cutMark
	}
	return strings.ToValidUTF8(string(bytes.TrimSuffix(held, []byte{'\r'})), "\uFFFD")
}
