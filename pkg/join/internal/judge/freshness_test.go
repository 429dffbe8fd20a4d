package judge

import (
	"fmt"
	"time"
)

// age is how old an answer is.
type age int

const (
	fresh     age = iota
	never         // asked
	beforeAct     // asked before the last act
	old           // older than FreshFor
	slow          // fresh, but it took long: what is on this machine was asked for before others answered
	ages
)

var topics = []Topic{Files, Company, Kubeconfig, Unit, Programs, Naming, Token, Certificate, OwnNode, TokensNode, Renewal, Takeup}

// freshness: what is old is a union over topics, so one at a time tells all that
// the judge distinguishes; that no mixture of old facts leads to an act is a
// test of its own.
var freshness = func() []value {
	values := []value{val("all fresh", func(r *row) { r.allFresh() })}
	for _, t := range topics {
		for a := never; a < ages; a++ {
			values = append(values, value{fmt.Sprintf("%v of topic %d", a, t), true, func(r *row) {
				r.allFresh()
				r.date(t, a)
			}})
		}
	}
	return append(values,
		value{"the Node was pushed", false, func(r *row) { r.allFresh(); r.f.Node.News, r.f.Second.News = true, true }},
		value{"the token's answer is 600 ms old", false, func(r *row) {
			r.allFresh()
			r.f.Cluster.Asked, r.f.Cluster.At = ago(700*time.Millisecond), ago(600*time.Millisecond)
		}},
		value{"all old", true, func(r *row) {
			for _, t := range topics {
				r.date(t, old)
			}
		}},
		value{"all before the act", true, func(r *row) {
			for _, t := range topics {
				r.date(t, beforeAct)
			}
		}},
	)
}()

// dated are the freshness values for which a topic has one of the ages.
func dated(t Topic, as ...age) (values []int) {
	for _, a := range as {
		for i, topic := range topics {
			if topic == t {
				values = append(values, 1+i*int(ages-1)+int(a-never))
			}
		}
		switch a {
		case old:
			values = append(values, len(freshness)-2)
		case beforeAct:
			values = append(values, len(freshness)-1)
		}
	}
	return values
}

func (r *row) allFresh() {
	for _, t := range topics {
		r.date(t, fresh)
	}
}

// fresh answers, of others and about this machine.
var (
	heardNow = stamp{acts, ago(200 * time.Millisecond), ago(100 * time.Millisecond)}
	seenNow  = stamp{acts, ago(50 * time.Millisecond), ago(10 * time.Millisecond)}
)

// date an answer. One that nobody has asked for has no value.
func (r *row) date(t Topic, a age) {
	s := heardNow
	if t&local != 0 {
		s = seenNow
	}
	switch a {
	case never:
		s = stamp{}
	case beforeAct:
		s.acts--
	case old:
		s.asked, s.at = s.asked.Add(-FreshFor), s.at.Add(-FreshFor)
	case slow:
		s.asked = ago(10 * time.Second)
	}
	switch t {
	case Files:
		setStamp(&r.f.Disk, s)
	case Company:
		setStamp(&r.f.Machine, s)
	case Kubeconfig:
		setStamp(&r.f.Credentials, s)
	case Unit:
		setStamp(&r.f.Kubelet, s)
	case Programs:
		setStamp(&r.f.Programs, s)
	case Naming:
		setStamp(&r.f.Name, s)
	case Token:
		setStamp(&r.f.Cluster, s)
	case Certificate:
		setStamp(&r.f.Request, s)
	case OwnNode:
		setStamp(&r.f.Node, s)
	case TokensNode:
		setStamp(&r.f.Second, s)
	case Renewal:
		setStamp(&r.f.Lease, s)
	case Takeup:
		setStamp(&r.f.Untaken, s)
	}
}

func setStamp[T any](f *Fact[T], s stamp) {
	f.Acts, f.Asked, f.At, f.News = s.acts, s.asked, s.at, false
	if s.at.IsZero() {
		*f = Fact[T]{}
	}
}
