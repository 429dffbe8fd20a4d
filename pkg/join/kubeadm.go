package join

import (
	"context"
	"errors"
	"fmt"

	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// KubeadmFit: programs that are missing or too old make every attempt fail.
func (m *machine) KubeadmFit(ctx context.Context) (warning string, err error) {
	version, err := m.kubeadm.Version(ctx)
	var old *kubeadm.TooOldError
	switch {
	case err == nil && m.HasKubelet():
		m.version = version
		if version.Newer() {
			warning = fmt.Sprintf("kubeadm is %s, and this nodejoin knows %s: what that one says may be misread", version, kubeadm.Supported())
		}
		return warning, nil
	case err == nil:
		return "", &Error{Reason: HostUnfit, Message: "there is no program \"kubelet\" in PATH", Hint: "install it, in the version of the cluster"}
	case errors.Is(err, kubeadm.ErrNotFound):
		return "", &Error{Reason: HostUnfit, Message: fmt.Sprintf("--kubeadm: %q is not there or not executable", m.plan.Kubeadm), Err: err, Hint: "install kubeadm, or name it with --kubeadm"}
	case errors.As(err, &old):
		return "", &Error{Reason: HostUnfit, Message: err.Error(), Hint: "install a kubeadm of the cluster's version"}
	}
	return "", err
}

func (m *machine) KubeadmVersion() string { return "kubeadm " + m.version.String() }

// warnedMost is far more than kubeadm has checks.
const warnedMost = 100

// keepWarning keeps what kubeadm warns of, but for what it was told to ignore, by the user or for a ca.crt that is the cluster's:
// that is a warning because of it.
func (m *machine) keepWarning(c kubeadm.Check) {
	if m.plan.ignores(c.Name) || c.Name == m.plan.caFileCheck() {
		return
	}
	select {
	case m.warned <- fmt.Sprintf("kubeadm warns of %s: %s", c.Name, c.Message):
	default:
	}
}

func (m *machine) Warned() (said []string) {
	for {
		select {
		case w := <-m.warned:
			said = append(said, w)
		default:
			return said
		}
	}
}
