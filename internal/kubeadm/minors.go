package kubeadm

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// traits are what a minor of Kubernetes 1 does in its own way, as far as it is to be known before kubeadm is run. What each says is in
// words and usage, and in testdata.
type traits struct {
	minor int
	// ignoresRuntime: a container runtime that does not answer is a warning in its log, and it goes on, writes its files and
	// waits for a kubelet that cannot start (cmd/kubeadm/app/preflight/checks.go addCommonChecks).
	ignoresRuntime bool
}

// minors are those that nodejoin is made for, oldest first. The first is the first whose kubeadm knows kubeadm.k8s.io/v1beta4,
// and with it timeouts. One that is newer than the last is taken for the last.
var minors = []traits{
	{minor: 31, ignoresRuntime: true},
	{minor: 32, ignoresRuntime: true},
	{minor: 33, ignoresRuntime: true},
	{minor: 34, ignoresRuntime: true},
	{minor: 35},
	{minor: 36},
	{minor: 37},
	{minor: 38},
}

// Supported is the range of kubeadm's minors, as in "1.31 to 1.38".
func Supported() string {
	return fmt.Sprintf("1.%d to 1.%d", minors[0].minor, minors[len(minors)-1].minor)
}

// Version is a kubeadm's.
type Version struct {
	text  string
	minor int // of 1; of any later one the largest number
}

// String is what kubeadm says, e.g. "v1.37.2".
func (v Version) String() string { return v.text }

// Newer reports whether nodejoin was not made for it yet.
func (v Version) Newer() bool { return v.minor > minors[len(minors)-1].minor }

// IgnoresRuntime reports whether a join goes on without a container runtime.
func (v Version) IgnoresRuntime() bool { return v.traits().ignoresRuntime }

func (v Version) traits() traits {
	for _, t := range minors {
		if t.minor == v.minor {
			return t
		}
	}
	return minors[len(minors)-1]
}

var versionWords = regexp.MustCompile(`^v(\d+)\.(\d+)\.\d+\S*$`)

func parseVersion(text string) (Version, bool) {
	m := versionWords.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	switch {
	case major < 1:
		minor = 0
	case major > 1:
		minor = math.MaxInt
	}
	return Version{text, minor}, true
}

// NoRuntime is the failure of a join for which this kubeadm was not run, in the words of one that notices by itself.
func (v Version) NoRuntime(err error) *Failure {
	return &Failure{
		Command: "kubeadm join", ExitCode: -1, Phase: "preflight",
		Checks: []Check{{Name: "CRI", Message: fmt.Sprintf("could not connect to the container runtime, without which kubeadm %s would go on: %v", v, err)}},
	}
}
