package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/packages"
	"github.com/nodejoin/nodejoin/test/testbed"
)

// sentinel is the file by which the Cluster API learns that a machine is in.
const sentinel = "/run/cluster-api/bootstrap-success.complete"

// onBootedEC2 is a story on an instance that is switched off and will run nodejoin-ec2(7)'s user data of a kind. Its VPC has a domain
// of its own: EC2's API, and with it the cloud controller, knows the instance by another name than the instance itself does.
type onBootedEC2 struct {
	*bootedStory
	name, id string
}

func tellUserData(t *testing.T, first string) *onBootedEC2 {
	t.Helper()
	s := &onBootedEC2{bootedStory: tellBooted(t, testbed.BootedOptions{CNI: true}), id: "i-0a1b2c3d4e5f60718"}
	s.startCluster()
	cloud, err := s.cp.Cloud(s.ctx)
	s.must(err)
	known := privateName(s.node.Machine)
	cloud.Add(testbed.Instance{ID: s.id, PrivateDNSName: known, IP: s.node.IP})
	s.name = strings.Replace(known, "ec2.internal", "corp.example.org", 1)
	s.must(s.node.StartMetadata(testbed.Instance{ID: s.id, PrivateDNSName: s.name}))
	s.must(os.Remove(s.node.Path("/usr/bin/nodejoin"))) // the package brings it
	if args := testbed.PreflightArgs(); len(args) > 0 {
		s.must(s.node.WriteFile("/etc/systemd/system.conf.d/testbed.conf",
			"[Manager]\nDefaultEnvironment=NODEJOIN_IGNORE_PREFLIGHT_ERRORS="+strings.TrimPrefix(args[0], "--ignore-preflight-errors=")+"\n", 0o644))
	}
	s.must(s.node.SetUserData(s.userData(first)))
	return s
}

// ec2Page are the texts of nodejoin-ec2(7) that are to be copied: user data, then commands.
func (s *story) ec2Page() (copied []string) {
	s.Helper()
	page, err := os.ReadFile("../../internal/dist/generate/nodejoin-ec2.7.md")
	s.must(err)
	blocks := strings.Split(string(page), "\n```\n")
	for i := 1; i < len(blocks); i += 2 {
		copied = append(copied, blocks[i]+"\n")
	}
	return copied
}

// userData is the page's text that begins so, with the values that it says to change, and github.com, which is the testbed's hub.
func (s *onBootedEC2) userData(first string) string {
	s.Helper()
	host, version, sum := s.release()
	for _, text := range s.ec2Page() {
		if strings.HasPrefix(text, first+"\n") {
			return strings.NewReplacer("https://github.com", host, "0.1.0", version, "api.example.internal:6443", s.cp.Endpoint(),
				"sha256:"+strings.Repeat("0", 64), s.cp.CAHash(), strings.Repeat("0", 64), sum, "abcdef.0123456789abcdef", s.token).Replace(text)
		}
	}
	s.Fatalf("nodejoin-ec2(7) has no user data that begins with %s", first)
	return ""
}

// release publishes nodejoin's package as GitHub would, and tells where, under which version, and the checksum of its checksums.
func (s *onBootedEC2) release() (host, version, sum string) {
	s.Helper()
	deb, err := packages.Deb(s.ctx, filepath.Join(s.TempDir(), "work"), runtime.GOARCH)
	s.must(err)
	name := filepath.Base(deb)
	version = strings.TrimSuffix(strings.TrimPrefix(name, "nodejoin_"), "_"+runtime.GOARCH+".deb")
	packed, err := os.ReadFile(deb)
	s.must(err)
	sums := fmt.Sprintf("%064x  nodejoin_%s_arm64.deb\n%x  %s\n", 1, version, sha256.Sum256(packed), name)
	listener, err := s.tb.Listen("")
	s.must(err)
	mux := http.NewServeMux()
	folder := "GET /nodejoin/nodejoin/releases/download/v" + version + "/"
	mux.HandleFunc(folder+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, deb) })
	mux.HandleFunc(folder+"checksums.txt", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, sums) })
	server := &http.Server{Handler: mux}
	go server.Serve(listener)
	s.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String(), version, fmt.Sprintf("%x", sha256.Sum256([]byte(sums)))
}

// firstBoot boots and checks that cloud-init is content, that the package is installed and that the instance has become a
// member.
func (s *onBootedEC2) firstBoot() ended {
	s.Helper()
	s.must(s.node.Boot(s.ctx))
	s.cloudInitIsDone()
	// cloud-config's commands go on when one has failed.
	if out, err := s.node.Run(s.ctx, "dpkg-query", "--show", "--showformat=${Status}", "nodejoin"); err != nil || out != "install ok installed" {
		s.Errorf("the package is %q: %v", out, err)
	}
	e := s.ended(0, "Joined").counts(1, 0, 0, 0)
	s.isMember(e)
	return e
}

// isMember checks that the Node is the instance's by its provider ID, that the cloud controller has accepted it, and that the
// Cluster API is told.
func (s *onBootedEC2) isMember(e ended) {
	s.Helper()
	s.must(s.node.WaitBoot(s.ctx))
	if vendor, err := s.node.ReadFile("/sys/class/dmi/id/sys_vendor"); err != nil || string(vendor) != "Amazon EC2\n" {
		s.Errorf("the firmware is %q's: %v", vendor, err)
	}
	s.member(e)
	node := s.registered(s.name, "aws:///us-east-1a/"+s.id)
	for _, taint := range node.Spec.Taints {
		if taint.Key == "node.cloudprovider.kubernetes.io/uninitialized" {
			s.Error("the cloud controller has not accepted the Node")
		}
	}
	if said, err := s.node.ReadFile(sentinel); err != nil || string(said) != "success\n" {
		s.Errorf("the Cluster API is told %q: %v", said, err)
	}
}

// isUntouched checks that a run has found the member that another one has made, and left it alone.
func (s *onBootedEC2) isUntouched(first, again ended) {
	s.Helper()
	again.counts(0, 0, 0, 0)
	s.isMember(again)
	if again.report.Node.UID != first.report.Node.UID || again.report.Node.BootID == first.report.Node.BootID {
		s.Errorf("Node %+v after the reboot, %+v before", again.report.Node, first.report.Node)
	}
	if joins, resets := s.node.KubeadmCount("join"), s.node.KubeadmCount("reset"); joins != 1 || resets != 0 {
		s.Errorf("kubeadm was called for %d joins and %d resets", joins, resets)
	}
}

func TestTheManualsScriptJoinsAnInstanceAndARebootIsANoOp(t *testing.T) {
	s := tellUserData(t, "#!/bin/sh")
	// SSM, at the edge of this world, knows one parameter.
	s.must(s.node.WriteFile("/usr/local/bin/aws", `#!/bin/sh
if [ "$AWS_REGION $*" != 'us-east-1 ssm get-parameter --name /kubernetes/join-token --with-decryption --query Parameter.Value --output text' ]; then
  echo "aws: not known here: $AWS_REGION $*" >&2
  exit 252
fi
echo `+s.token+"\n", 0o700))
	first := s.firstBoot()

	t.Log("after a reboot the kubelet comes back by itself, and the script, if it is run again, touches nothing")
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.cloudInitIsDone()
	if _, there := s.status(); there {
		t.Error("cloud-init has run the script at the second boot")
	}
	out, err := s.node.Run(s.ctx, "/var/lib/cloud/instance/scripts/part-001")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.isUntouched(first, s.ended(0, "AlreadyJoined"))

	t.Log("whoever else waits for the instance is told by the commands that nodejoin-ec2(7) prints")
	const calls = "/root/calls"
	for _, program := range []string{"aws", "cfn-signal"} {
		s.must(s.node.WriteFile("/usr/local/bin/"+program, "#!/bin/sh\necho "+program+` "$@" >>`+calls+"\n", 0o755))
	}
	for _, text := range s.ec2Page() {
		if !strings.HasPrefix(text, "#") { // no user data, but a command
			s.run(append([]string{"env", "STACK=nodes", "AWS_REGION=us-east-1"}, s.argsWithout("--on-success", text)...)...).
				is(0, "AlreadyJoined").counts(0, 0, 0, 0)
		}
	}
	const want = "aws autoscaling complete-lifecycle-action --auto-scaling-group-name workers --lifecycle-hook-name join" +
		" --lifecycle-action-result CONTINUE --instance-id b1\n" +
		"cfn-signal --success true --stack nodes --resource Workers --region us-east-1\n"
	if got, err := s.node.ReadFile(calls); err != nil || string(got) != want {
		t.Errorf("%v: they are told %q, not %q", err, got, want)
	}
}

func TestTheManualsCloudConfigJoinsAnInstanceAndARebootIsANoOp(t *testing.T) {
	s := tellUserData(t, "#cloud-config")
	first := s.firstBoot()

	t.Log("after a reboot the unit finds a member and touches nothing")
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.cloudInitIsDone()
	s.isUntouched(first, s.ended(0, "AlreadyJoined"))
}
