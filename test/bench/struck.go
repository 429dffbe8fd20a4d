package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

const (
	// struckNodes are those of each contender. A kubelet and its containerd take 8 inotify instances, of which a host lends its
	// root 128 by default.
	struckNodes = 4
	// Within takenUp a kubelet has renewed the Lease of a Node that was put back; by then it is as before its deletion.
	takenUp = 15 * time.Second
	// controllerLooks is how often the Amazon controller does.
	controllerLooks = 5 * time.Second
)

// What the row "struck" tells, of each node.
const (
	deletedByHand = "deleted by hand"
	deletedAgain  = "deleted again"
	notReadyEach  = "ms not Ready after each"
)

// deletionsPolicy logs who deletes Nodes, and nothing else.
const deletionsPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [delete], resources: [{group: "", resources: [nodes]}]}
- {level: None}
`

// struck: Nodes that are Ready are deleted by hand, ten times for each of the runs, while the Amazon controller looks and EC2
// lists none of them. How often does it delete one that has come back?
func (b *bench) struck() error {
	return b.onStage(audited(), stand, func(s *stage) error {
		if err := s.cp.WriteFile(auditPolicyFile, deletionsPolicy, 0o644); err != nil {
			return err
		}
		if err := s.cp.Start(b.ctx); err != nil {
			return err
		}
		token, err := s.cp.ReadyToken(b.ctx)
		if err != nil {
			return err
		}
		var all []target
		for _, who := range b.with(ours) {
			for i := range struckNodes {
				t := target{contender: who, number: i}
				if t.node, err = s.newNode(fmt.Sprintf("struck-%d", len(all)), testbed.NodeOptions{CNI: true, KubeletArgs: []string{"--cloud-provider=external"}}); err != nil {
					return err
				}
				all = append(all, t)
				if err := s.hold(t, token); err != nil {
					return err
				}
			}
		}
		if _, err := s.cp.Cloud(b.ctx); err != nil { // not before all are Ready, so it spares them
			return err
		}
		if err := s.bait(); err != nil {
			return err
		}
		if err := s.sleep(takenUp); err != nil {
			return err
		}
		return sideBySide(all, s.strike)
	})
}

// target is a Node that is deleted again and again.
type target struct {
	contender string
	number    int
	node      *testbed.Node
}

func (t target) String() string { return t.contender + " on " + t.node.Name }

// hold starts a nodejoin that holds its Node for ever, for no cloud accepts it. It goes on without the pauses that grow with
// each deletion: they are of no use here.
func (s *stage) hold(t target, token string) error {
	args := append(s.command(t.contender, token), "--hold", "24h", "--timeout", "0", "--max-deletions", "0", "--backoff-initial", "100ms", "--backoff-max", "100ms")
	if _, err := t.node.Start(s.ctx, testbed.Command{Args: args}); err != nil {
		return err
	}
	_, err := s.cp.WaitNode(s.ctx, t.node.Hostname, testbed.Ready)
	return err
}

// bait sees that the controller strikes at all: else there would be nothing to be spared from.
func (s *stage) bait() error {
	ctx, cancel := context.WithTimeout(s.ctx, 4*controllerLooks)
	defer cancel()
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "bait"}}
	if _, err := s.cp.Client().CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{}); err != nil {
		return err
	}
	return s.cp.WaitNoNode(ctx, node.Name)
}

func (s *stage) strike(t target) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	in, err := nodeNews(ctx, s.cp, t.node.Hostname)
	if err != nil {
		return err
	}
	cycles, byHand := (10*s.runs+struckNodes-1)/struckNodes, 0
	var notReady time.Duration
	for range cycles {
		err := s.cp.DeleteNode(ctx, t.node.Hostname)
		if err == nil {
			byHand++
		} else if !apierrors.IsNotFound(err) { // the controller was quicker
			return err
		}
		took, err := settle(ctx, in)
		if err != nil {
			return err
		}
		notReady += took
	}
	if err := s.sleep(time.Second); err != nil { // for the audit log
		return err
	}
	all := s.deletions(t.node.Hostname, "")
	again := s.deletions(t.node.Hostname, testbed.CloudController)
	if all != byHand+again {
		return fmt.Errorf("the audit log has %d deletions: %d by hand, %d by the controller, and whose are the others?", all, byHand, again)
	}
	add := func(what string, value float64) {
		s.add(sample{Row: "struck", Contender: t.contender, What: what, Run: t.number, Value: value})
	}
	add(deletedByHand, float64(byHand))
	add(deletedAgain, float64(again))
	add(notReadyEach, float64(notReady.Milliseconds())/float64(cycles))
	return nil
}

// settle returns when a Node that was deleted has come back, is Ready, and has been there for long enough, and tells how long it
// was seen to be not Ready. The controller has looked at it meanwhile, and the next deletion falls anywhere between two looks.
func settle(ctx context.Context, in <-chan news) (notReady time.Duration, err error) {
	pause := takenUp + rand.N(controllerLooks)
	deadline := time.Now().Add(longest)
	var node *core.Node // nil: it is gone
	now, due := time.Now(), deadline
	for gone := false; ; {
		next, late, err := await(ctx, in, time.Until(due), func(news) bool { return true })
		if err != nil {
			return 0, err
		}
		at := time.Now()
		if node != nil && !testbed.Ready(node) {
			notReady += at.Sub(now)
		}
		switch now = at; {
		case late && node != nil && testbed.Ready(node):
			return notReady, nil
		case late && !at.Before(deadline):
			return 0, errors.New("the Node is not there, or not Ready")
		case late:
			due = deadline
		case deleted(next):
			gone, node, due = true, nil, deadline
		case added(next) && gone:
			node, due = next.node, at.Add(pause)
		case gone && node != nil:
			node = next.node
		}
	}
}

// deletions are those of a Node by a program, or by anybody, as the API server knows.
func (s *stage) deletions(name, program string) int {
	count := 0
	for line := range strings.Lines(s.cp.Log(testbed.APIServer)) {
		var e struct {
			Verb, UserAgent string
			ObjectRef       struct{ Name string }
			ResponseStatus  struct{ Code int }
		}
		if strings.HasPrefix(line, auditPrefix) && json.Unmarshal([]byte(line), &e) == nil &&
			e.Verb == "delete" && e.ObjectRef.Name == name && strings.HasPrefix(e.UserAgent, program) && e.ResponseStatus.Code == http.StatusOK {
			count++
		}
	}
	return count
}
