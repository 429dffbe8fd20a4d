package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What an API server's own host knows of what it was asked for.

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

const (
	auditPolicyFile = "/etc/kubernetes/audit.yaml"
	auditPrefix     = `{"kind":"Event"` // of a line of the audit log
)

// audited makes an API server write its audit log into its own; requests reads it.
func audited() testbed.ControlPlaneOptions {
	return testbed.ControlPlaneOptions{APIServerArgs: []string{"--audit-log-path=-", "--audit-policy-file=" + auditPolicyFile}}
}

func (s *stage) audit() error {
	return s.cp.WriteFile(auditPolicyFile, auditPolicy, 0o644)
}

// request is one line of the audit log.
type request struct {
	Stage     string    `json:"stage"`
	Verb      string    `json:"verb"`
	Agent     string    `json:"userAgent"`
	Sources   []string  `json:"sourceIPs"`
	Received  time.Time `json:"requestReceivedTimestamp"`
	StageTime time.Time `json:"stageTimestamp"`
}

// by reports whether the request came from the program of that name.
func (r request) by(program string) bool { return strings.HasPrefix(r.Agent, program) }

// requests are those of the nodes, oldest first: the control plane's own programs come from its own address. A watch
// counts once, when it begins.
func (s *stage) requests() []request {
	var all []request
	for line := range strings.Lines(s.cp.Log(testbed.APIServer)) {
		if !strings.HasPrefix(line, auditPrefix) {
			continue
		}
		var r request
		if json.Unmarshal([]byte(line), &r) == nil && (r.Verb != "watch" || r.Stage == "ResponseStarted") && !slices.Contains(r.Sources, s.cp.IP) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b request) int { return a.Received.Compare(b.Received) })
	return all
}

// asked is how many requests nodejoin has made.
func (s *stage) asked() int {
	count := 0
	for _, r := range s.requests() {
		if r.by("nodejoin") {
			count++
		}
	}
	return count
}

// traffic tells from the audit log what the nodes have asked the API server for.
func (s *stage) traffic(c crowd, at moments, add func(string, float64)) error {
	time.Sleep(time.Second) // for the audit log
	n := float64(c.nodes)
	var probes, own int
	var first time.Time          // answer of any kind
	var after []time.Time        // when the requests after the signature came, in order
	var worked, answered float64 // ms and number of what is no watch
	for _, r := range s.requests() {
		if !r.by("nodejoin") && !r.by("kubeadm") && !r.by("kubectl") { // the administrator's watches are the benchmark's own
			continue
		}
		if r.Received.Before(at.signed) {
			if r.by("nodejoin") {
				probes++
			}
			if first.IsZero() {
				first = r.Received
			}
			continue
		}
		after = append(after, r.Received)
		if r.Verb != "watch" {
			worked += r.StageTime.Sub(r.Received).Seconds() * 1000
			answered++
		}
		if r.by("nodejoin") {
			own++
		}
	}
	if len(after) == 0 || isNodejoin(c.contender) && (own == 0 || first.IsZero()) {
		return errors.New("the audit log lacks what the nodes have asked for")
	}
	if isNodejoin(c.contender) {
		add("nodejoin's requests a node", float64(own)/n)
		wait := at.signed.Sub(first).Seconds()
		add("s from the first answer to the signature", wait)
		add("nodejoin's probes a node and second", float64(probes)/n/wait)
	}
	add("all requests a node", float64(len(after))/n)
	add("mean request ms", worked/answered)
	busiest, from := 0, 0
	for to := range after { // any second, not only those of a clock
		for after[to].Sub(after[from]) >= time.Second {
			from++
		}
		busiest = max(busiest, to-from+1)
	}
	add("busiest second / mean", float64(busiest)/(float64(len(after))/max(after[len(after)-1].Sub(after[0]).Seconds(), 1)))
	return nil
}

// apiServerCPU is the CPU time of the API server's process so far, in seconds.
func (s *stage) apiServerCPU() (float64, error) {
	state, err := s.cp.UnitState(testbed.APIServer)
	if err != nil {
		return 0, err
	}
	text, err := s.cp.Run(s.ctx, "cat", fmt.Sprintf("/proc/%d/stat", state.MainPID))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, ") ") // the program's name may hold blanks
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the API server's CPU time: %q", text)
	}
	const ticks = 100 // a second: USER_HZ, the same on every Linux that Go runs on
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks, errors.Join(err, err2)
}

// connections are those that were made to the control plane's host so far, but by itself.
func (s *stage) connections() (float64, error) {
	made, taken, err := s.cp.Connections(s.ctx)
	return float64(taken - made), err
}
