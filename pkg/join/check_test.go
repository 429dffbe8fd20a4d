package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// blindWorld does not see its kubelet.
type blindWorld struct{ *sim }

func (blindWorld) Kubelet(context.Context) (host.Unit, error) {
	return host.Unit{}, errors.New("D-Bus is dead")
}

func (blindWorld) KubeletProcesses() ([]host.KubeletProcess, error) {
	return nil, fs.ErrPermission
}

func TestCheckSaysWhatIsProven(t *testing.T) {
	const member = AlreadyJoined
	blind := func(s *sim) world { return blindWorld{s} }
	for name, story := range map[string]struct {
		prepare func(*sim)
		as      func(*sim) world
		config  Config
		want    Reason
		says    string
	}{
		"a member":                  {want: member},
		"not Ready":                 {prepare: func(s *sim) { s.node.Ready = "False" }, want: member},
		"its kubelet does not run":  {prepare: func(s *sim) { s.running = false }, want: NotMember, says: "does not run (inactive/dead)"},
		"started outside the unit":  {prepare: func(s *sim) { s.stray = true }, want: member},
		"its kubelet is not seen":   {as: blind, want: Unknown, says: "cannot be seen"},
		"being deleted":             {prepare: (*sim).finalized, want: NotMember, says: "is being deleted"},
		"another machine's":         {prepare: func(s *sim) { s.node.BootID = "boot-of-another" }, want: NotMember, says: "another machine's"},
		"another container's":       {prepare: func(s *sim) { s.node.MachineID = "machine-of-another" }, want: NotMember, says: "another machine's"},
		"of no boot":                {prepare: func(s *sim) { s.node.BootID = "" }, want: NotMember, says: "another machine's"},
		"its kubelet is silent":     {prepare: func(s *sim) { s.node.Ready = "Unknown" }, want: NotMember, says: "does not report"},
		"deleted":                   {prepare: (*sim).deleteNode, want: NotMember, says: `no Node "w1"`},
		"left to its owner":         {prepare: func(s *sim) { s.deleteNode(); s.leaves() }, want: NotMember, says: "karpenter.sh/disrupted"},
		"left, and there again":     {prepare: func(s *sim) { s.leaves() }, want: member},
		"whether it was left":       {prepare: func(s *sim) { s.unlisted = errors.New("torn") }, want: member},
		"a silent server":           {prepare: func(s *sim) { s.down = true }, want: Unknown, says: "no useful answer"},
		"a lone 401":                {prepare: func(s *sim) { s.refuses = true }, want: Unknown, says: "no useful answer"},
		"under another name":        {config: Config{NodeName: "w2"}, want: NotMember, says: `not "w2"`},
		"of another cluster":        {config: Config{CACertHashes: []string{"sha256:00"}}, want: NotMember, says: "another cluster"},
		"never joined":              {prepare: func(s *sim) { s.creds, s.disk = nil, host.Disk{} }, want: NotMember, says: "has not joined"},
		"without a certificate yet": {prepare: func(s *sim) { s.creds = nil }, want: NotMember, says: "no certificate yet"},
		"asked by anybody":          {prepare: func(s *sim) { s.torn = fs.ErrPermission }, want: Unknown, says: "cannot be read"},
		"torn, and it may run":      {prepare: func(s *sim) { s.torn = errTorn }, want: Unknown, says: "do not load"},
		"not understood":            {prepare: func(s *sim) { s.torn = fmt.Errorf("kubelet.conf: %w", cluster.ErrNotUnderstood) }, want: Unknown, says: "do not load"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{t: t, unit: host.Unit{Active: true}}
				s.ready = true
				s.joined()
				s.change(func() {}) // the book is open
				if story.prepare != nil {
					story.prepare(s)
				}
				var w world = s
				if story.as != nil {
					w = story.as(s)
				}
				c := story.config
				c.Timeout = time.Minute
				wanted := c.NodeName
				if wanted == "" {
					wanted = "w1"
				}
				r := newRun(&plan{Config: c}, w, simID, wanted, func(m string) string { return m })
				held, err := r.check(t.Context())
				reason, message := member, held
				var e *Error
				if errors.As(err, &e) {
					reason, message = e.Reason, e.Message
				} else if err != nil {
					t.Fatal(err)
				}
				if reason != story.want {
					t.Errorf("%s: %s, wanted %s", reason, message, story.want)
				}
				if !strings.Contains(message, story.says) {
					t.Errorf("nothing says %q: %s", story.says, message)
				}
				if len(s.log) > 0 {
					t.Errorf("a check did %v", s.log)
				}
			})
		})
	}
}

func TestCheckDoesNotSayNotMemberInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		s.ready = true
		s.joined()
		p := &plan{Config: Config{DiscoveryFile: "/nowhere"}}
		r := newRun(p, noFile{s}, simID, "w1", func(m string) string { return m })
		_, err := r.check(t.Context())
		var e *Error
		if errors.As(err, &e) && e.Reason == NotMember {
			t.Errorf("%s: %v", e.Reason, err)
		}
	})
}
