package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

func (c *climber) runtime(ctx context.Context) Rung {
	runtime, err := c.w.Runtime(ctx)
	switch {
	case errors.Is(err, fs.ErrPermission):
		r := notSeen("%v", err)
		r.Hint = "run it with sudo"
		return r
	case err != nil && ctx.Err() != nil:
		return notSeen("there was no time left for it: %v", err)
	case err != nil:
		return wrong(err.Error(), kubeadm.Version{}.NoRuntime(err).Hint())
	}
	switch configured := runtime.Configured; {
	case runtime.Driver != "":
		return well("serves kubelets, and tells them its cgroup driver: %s", runtime.Driver)
	case configured == "":
		return well("serves kubelets, and does not tell its cgroup driver, which the kubelet's configuration is to name")
	default:
		r := notSeen("serves kubelets; whether its cgroup driver is %s, as the kubelet's configuration has it, it does not tell", configured)
		r.Hint = "where /etc/containerd/config.toml has another SystemdCgroup, pods end soon after their start"
		return r
	}
}

func (c *climber) kubeletRuns(ctx context.Context) Rung {
	k, disabled, err := c.kubelet(ctx, true)
	if err != nil {
		return notSeen("%v", err)
	}
	c.facts.Kubelet = judge.Fact[judge.Kubelet]{Value: k, Asked: time.Now(), At: time.Now()}
	is := k.State
	if k.Arguments != "" {
		is += ", " + k.Arguments
	}
	switch r, stands := c.standing(judge.Unit); {
	case stands:
		return r
	case k.Fatal != "" && !k.Running && !k.Passes:
		a := judge.KubeletRefuses(k.Fatal, k.Remedy, nil)
		return wrong(a.Message, a.Hint)
	case c.creds == nil && !k.Running:
		return well("%s: it is to be started by kubeadm join", is)
	case k.Suspended:
		return wrong("it does not run: "+is, "")
	case k.Fatal != "" && !k.Running:
		return wrong(fmt.Sprintf("it does not run (%s): %s", is, k.Fatal), k.Remedy)
	case !k.Running:
		return wrong(fmt.Sprintf("it does not run (%s)", is), "`nodejoin join` starts it, or `systemctl restart kubelet`; its log says why it ended: `journalctl -u kubelet`")
	case k.Unregistered != "":
		return wrong("it runs, and cannot register its Node: "+k.Unregistered, "whatever refuses it is in the cluster")
	case disabled:
		return wrong(is+", and does not start at boot", "`systemctl enable kubelet`")
	}
	return well("%s", is)
}

func (c *climber) certificate(context.Context) Rung {
	if c.creds == nil {
		var e *Error
		if errors.As(c.noCredentials(c.credsErr), &e); e.Reason == Unknown {
			r := notSeen("%v", e)
			r.Hint = e.Hint
			return r
		}
		return inTheWay(e.Message, e.Hint, nil)
	}
	until := c.creds.NotAfter
	switch now := time.Now().Add(c.door.Ahead); {
	case until.IsZero():
		return well("the kubelet shows a token of its own in a certificate's place")
	case now.After(until):
		return wrong(fmt.Sprintf("the kubelet's has expired at %s", until.UTC().Format(time.RFC3339)), "`nodejoin join` with a token has the kubelet get another, in place")
	}
	return well("the kubelet's, of Node %q, is valid until %s", c.creds.NodeName, until.UTC().Format(time.RFC3339))
}

func (c *climber) node(context.Context) Rung {
	var e *Error
	switch {
	case c.member == nil:
		return well("%s", c.held)
	case c.creds != nil && errors.As(c.member, &e) && e.Reason == NotMember:
		return inTheWay(e.Message, e.Hint, e.Err)
	case c.creds != nil:
		return notSeen("%v", c.member)
	case c.probe == nil || c.probe.Node.Answer < cluster.Absent:
		return notSeen("there is nobody whom the API server would tell: no kubelet's credentials, and no token that it takes")
	case c.probe.Node.Answer == cluster.Absent:
		return well("there is none of this name yet")
	}
	return wrong(fmt.Sprintf("there is a Node %q already (Ready: %s)", c.probe.Node.Node.Name, c.probe.Node.Node.Ready), "`nodejoin join` says whose it is, and waits for one that is dead")
}

func (c *climber) mounts(context.Context) Rung {
	here, err := c.company()
	c.facts.Machine = judge.Fact[judge.Machine]{Value: here, Err: err, Asked: time.Now(), At: time.Now()}
	switch r, stands := c.standing(judge.Company); {
	case err != nil:
		return notSeen("%v", err)
	case stands:
		return r
	}
	return well("all that /etc/fstab and mount units want below the kubelet's files are there")
}

// kubeletPort is where API servers ask a kubelet for logs, and kubeadm sees whether
// one runs.
const kubeletPort = 10250

func (c *climber) ports(context.Context) Rung {
	switch taken, err := c.w.PortTaken(kubeletPort); {
	case err != nil:
		return notSeen("%v", err)
	case taken && !c.facts.Kubelet.Value.Running:
		return wrong(fmt.Sprintf("%d is taken, and no kubelet is seen to run", kubeletPort), fmt.Sprintf("`ss -ltnp sport = :%d` names who has it", kubeletPort))
	case taken:
		return well("%d is the kubelet's", kubeletPort)
	}
	return well("%d is free", kubeletPort)
}

func (c *climber) programs(ctx context.Context) Rung {
	warning, err := c.w.KubeadmFit(ctx)
	var e *Error
	switch {
	case errors.As(err, &e):
		return inTheWay(e.Message, e.Hint, e.Err)
	case err != nil:
		return notSeen("%v", err)
	case warning != "":
		return wrong(warning, "see whether there is a newer nodejoin")
	}
	return well("%s, of the %s that nodejoin knows, and a kubelet", c.w.KubeadmVersion(), kubeadm.Supported())
}
