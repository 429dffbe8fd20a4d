package join

import (
	"encoding/json"
	"math"
	"time"
)

// SchemaVersion of the report's JSON form.
const SchemaVersion = 1

// Report tells how a run went, or how it is going. It is the content of the
// status file and free of secrets.
type Report struct {
	SchemaVersion int    `json:"schemaVersion"`
	Version       string `json:"version"` // nodejoin's own
	PID           int    `json:"pid"`

	Phase    Phase   `json:"phase"`
	Result   *Result `json:"result"`   // null while it runs
	Reason   Reason  `json:"reason"`   // empty while it runs
	ExitCode *int    `json:"exitCode"` // null while it runs; filled in by the command
	Message  string  `json:"message"`  // what happened, or what is waited for
	Hint     string  `json:"hint"`     // what to do next

	Because []string `json:"because"` // what the last act, or the success, rested on

	Node     NodeRef `json:"node"`
	Endpoint string  `json:"endpoint"`

	StartedAt  time.Time  `json:"startedAt"`
	FinishedAt *time.Time `json:"finishedAt"`
	Duration   Seconds    `json:"durationSeconds"`

	Attempts  []Attempt  `json:"attempts"`
	Counts    Counts     `json:"counts"`
	Deletions []Deletion `json:"deletions"`
	Warnings  []string   `json:"warnings"`

	FirstError string  `json:"firstError"`
	LastError  string  `json:"lastError"`
	LogTail    LogTail `json:"logTail"`

	Check *Checked `json:"check,omitempty"` // of Check only
}

// Checked is what Check found besides its answer.
type Checked struct {
	Level             Level      `json:"level"`             // that the Node has reached; empty: not a member, or not known
	Since             *time.Time `json:"since"`             // when the Node was created; null: not known, as in the next
	CredentialsExpire *time.Time `json:"credentialsExpire"` // the kubelet's
	Kubelet           string     `json:"kubelet"`           // the state of its service, in the init system's words
	LastRun           *LastRun   `json:"lastRun"`           // null: no status file; filled in by the command
	Unseen            []string   `json:"unseen"`            // what could not be seen, and why
	Rungs             []Rung     `json:"rungs,omitempty"`   // with Config.All
	Left              *Left      `json:"left"`              // null: none, or not known
}

// Left is our Node that was deleted in this boot, had the mark of its owner's will,
// and is not brought back without Config.BringBack.
type Left struct {
	Name string    `json:"name"`
	UID  string    `json:"uid"`
	Mark string    `json:"mark"`
	At   time.Time `json:"at"` // when it was missed
}

// LastRun is what the status file says of the last run on this machine.
type LastRun struct {
	Reason      Reason     `json:"reason"`   // empty while it runs
	ExitCode    *int       `json:"exitCode"` // null while it runs
	Phase       Phase      `json:"phase"`
	Message     string     `json:"message"`
	PID         int        `json:"pid"`
	StartedAt   time.Time  `json:"startedAt"`
	FinishedAt  *time.Time `json:"finishedAt"`
	Running     bool       `json:"running"` // it has not ended, and its process lives
	EarlierBoot bool       `json:"earlierBoot"`
}

// Result of a run that has ended.
type Result string

// The two results.
const (
	Success Result = "success"
	Failure Result = "failure"
)

// NodeRef names our Node: as asked for, then as the API server showed it.
type NodeRef struct {
	Name   string `json:"name"`
	UID    string `json:"uid"`
	BootID string `json:"bootID"`
}

// Attempt is one reset, join and verify, from the API server's first useful
// answer on.
type Attempt struct {
	Number    int         `json:"number"`
	StartedAt time.Time   `json:"startedAt"`
	Duration  Seconds     `json:"durationSeconds"`
	Phases    []PhaseTime `json:"phases"`
}

// PhaseTime is the time one phase of an attempt took and how it failed.
type PhaseTime struct {
	Phase    Phase   `json:"phase"`
	Duration Seconds `json:"durationSeconds"`
	Error    string  `json:"error"`
}

// Counts of what was done to the machine, and of what was done to its Node.
type Counts struct {
	Attempts        int `json:"attempts"`
	Joins           int `json:"joins"`  // kubeadm join started
	Resets          int `json:"resets"` // kubeadm reset started
	KubeletRestarts int `json:"kubeletRestarts"`
	Bootstraps      int `json:"bootstraps"`   // the kubelet got another certificate, in place
	NodesPutBack    int `json:"nodesPutBack"` // as they were, without a kubelet restart
	Deletions       int `json:"deletions"`    // Nodes of ours that were deleted, by UID
	PodsAtReset     int `json:"podsAtReset"`  // that lived here when kubeadm reset was started
}

// Deletion of a Node that was ours, and what it had when it was last seen.
type Deletion struct {
	UID        string    `json:"uid"`
	At         time.Time `json:"at"`
	After      Seconds   `json:"afterSeconds"` // since it was first seen
	Taints     []string  `json:"taints"`
	Cordoned   bool      `json:"cordoned"`
	PodCIDR    string    `json:"podCIDR"`
	ProviderID string    `json:"providerID"`
	LastWriter string    `json:"lastWriter"` // who changed it last
}

// LogTail holds the last lines of those who know why it failed.
type LogTail struct {
	Kubeadm []string `json:"kubeadm"`
	Kubelet []string `json:"kubelet"`
}

// Seconds is a duration that JSON shows as seconds, to the millisecond.
type Seconds time.Duration

// MarshalJSON writes a number of seconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(math.Round(time.Duration(s).Seconds()*1000) / 1000)
}

// UnmarshalJSON reads a number of seconds.
func (s *Seconds) UnmarshalJSON(raw []byte) error {
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return err
	}
	*s = Seconds(seconds * float64(time.Second))
	return nil
}

// clone copies what the run goes on to change.
func (r *Report) clone() Report {
	c := *r
	c.Attempts = append([]Attempt{}, r.Attempts...)
	for i := range c.Attempts {
		c.Attempts[i].Phases = append([]PhaseTime{}, c.Attempts[i].Phases...)
	}
	c.Deletions = append([]Deletion{}, r.Deletions...)
	c.Because = append([]string{}, r.Because...)
	c.Warnings = append([]string{}, r.Warnings...)
	c.LogTail.Kubeadm = append([]string{}, r.LogTail.Kubeadm...)
	c.LogTail.Kubelet = append([]string{}, r.LogTail.Kubelet...)
	return c
}
