package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// audited makes an API server write its audit log into its own; requests reads it.
func audited() testbed.ControlPlaneOptions {
	return testbed.ControlPlaneOptions{APIServerArgs: []string{"--audit-log-path=-", "--audit-policy-file=/etc/kubernetes/audit.yaml"}}
}

func (s *stage) audit() error {
	return s.cp.WriteFile("/etc/kubernetes/audit.yaml", auditPolicy, 0o644)
}

// request is one line of the audit log.
type request struct {
	Stage      string    `json:"stage"`
	Verb       string    `json:"verb"`
	URI        string    `json:"requestURI"`
	Agent      string    `json:"userAgent"`
	Sources    []string  `json:"sourceIPs"`
	Received   time.Time `json:"requestReceivedTimestamp"`
	StageTime  time.Time `json:"stageTimestamp"`
	ObjectName struct {
		Resource string `json:"resource"`
		Name     string `json:"name"`
	} `json:"objectRef"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// requests are those of one program, oldest first. A watch counts once, when it begins.
func (s *stage) requests(agent string) []request {
	var all []request
	for line := range strings.Lines(s.cp.Log(testbed.APIServer)) {
		if !strings.HasPrefix(line, `{"kind":"Event"`) {
			continue
		}
		var r request
		if json.Unmarshal([]byte(line), &r) == nil && strings.HasPrefix(r.Agent, agent) && (r.Verb != "watch" || r.Stage == "ResponseStarted") {
			all = append(all, r)
		}
	}
	return all
}

// member: the whole of a nodejoin on a machine that is a member already.
func (b *bench) member() error {
	return b.onStage(audited(), testbed.NodeOptions{CNI: true}, func(s *stage) error {
		if err := s.audit(); err != nil {
			return err
		}
		if err := s.cp.Start(b.ctx); err != nil {
			return err
		}
		token, err := s.cp.ReadyToken(b.ctx)
		if err != nil {
			return err
		}
		if _, err := s.node.Run(b.ctx, s.command(ours, token)...); err != nil {
			return err
		}
		if _, err := s.cp.WaitNode(b.ctx, s.node.Hostname, testbed.Ready); err != nil {
			return err
		}
		for run := range b.runs {
			before := len(s.requests("nodejoin"))
			p, err := s.node.Start(b.ctx, testbed.Command{Args: s.command(ours, token)})
			if err != nil {
				return err
			}
			exit := p.Wait()
			if exit.Code != 0 {
				return fmt.Errorf("exit status %d: %s", exit.Code, p.Stderr)
			}
			if err := b.sleep(500 * time.Millisecond); err != nil { // for the audit log
				return err
			}
			b.add(sample{Row: "member", Contender: ours, What: "CPU ms", Run: run, Value: float64(exit.CPU.Milliseconds())})
			b.add(sample{Row: "member", Contender: ours, What: "requests", Run: run, Value: float64(len(s.requests("nodejoin")) - before)})
		}
		return nil
	})
}

// waitingTime is for how long the API server of the row "waiting" is away.
const waitingTime = 10 * time.Minute

// waiting: ten minutes of an API server that is not there. The contenders wait side by side, each on a node of its own:
// none of them is busy, and CPU time is a process's own.
func (b *bench) waiting() error {
	return b.onStage(testbed.ControlPlaneOptions{}, testbed.NodeOptions{}, func(s *stage) error {
		var all sync.WaitGroup
		contenders := []string{ours, bare, shellLoop, installer}
		errs := make([]error, len(contenders))
		var mu sync.Mutex
		for i, who := range contenders {
			node, err := s.newNode(fmt.Sprintf("n%d", i), testbed.NodeOptions{NoRuntime: true, Kubelet: []string{"sleep", "infinity"}})
			if err != nil {
				return err
			}
			all.Go(func() { errs[i] = s.wait(who, node, &mu) })
		}
		all.Wait()
		for i, err := range errs {
			if err != nil {
				return fmt.Errorf("%s: %w", contenders[i], err)
			}
		}
		return nil
	})
}

func (s *stage) wait(who string, node *testbed.Node, mu *sync.Mutex) error {
	args := s.command(who, testbed.NewToken())
	before, err := s.sent(node)
	if err != nil {
		return err
	}
	began := time.Now()
	p, err := node.Start(s.ctx, testbed.Command{Args: args})
	if err != nil {
		return err
	}
	select {
	case <-p.Done(): // it gave up
	case <-time.After(waitingTime):
	}
	waited := time.Since(began).Seconds()
	after, err := s.sent(node)
	if err != nil {
		return err
	}
	if err := p.SignalGroup(syscall.SIGTERM); err != nil && s.ctx.Err() == nil {
		s.say("%s had ended: %v", who, err)
	}
	exit := p.Wait()
	mu.Lock()
	defer mu.Unlock()
	s.add(sample{Row: "waiting", Contender: who, What: "seconds waited", Value: waited})
	s.add(sample{Row: "waiting", Contender: who, What: "CPU s", Value: exit.CPU.Seconds()})
	s.add(sample{Row: "waiting", Contender: who, What: "resident MB", Value: float64(exit.MaxRSS) / 1e6})
	s.add(sample{Row: "waiting", Contender: who, What: "packets/s", Value: (after - before) / waited})
	return nil
}

// sent counts the packets that a node has sent to the network.
func (s *stage) sent(node *testbed.Node) (float64, error) {
	text, err := node.Run(s.ctx, "cat", "/proc/net/dev")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(text) {
		name, counts, ok := strings.Cut(line, ":")
		fields := strings.Fields(counts)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 10 {
			continue
		}
		n, err := strconv.ParseFloat(fields[9], 64)
		if err != nil {
			return 0, fmt.Errorf("reading /proc/net/dev: %w", err)
		}
		total += n
	}
	return total, nil
}
