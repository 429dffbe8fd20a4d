package e2e

import (
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

const currentPair = "/var/lib/kubelet/pki/kubelet-client-current.pem"

// The kubelet takes such paths as relative to the file that they stand in.
func TestRelativePathsInKubeletConfAreThoseOfTheKubelet(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(46)
	for _, c := range []struct{ name, what, path string }{
		{"w-cert", "the certificate's path", "client-certificate: /var/lib/kubelet/pki/"},
		{"w-both", "the key's path too", "/var/lib/kubelet/pki/"},
	} {
		t.Log(c.what)
		n := s.newNode(c.name, ready())
		s.start(n, s.args()...).end().is(0, "Joined")
		pod := s.loaded(n, c.name)
		s.must(os.Symlink("../../var/lib/kubelet/pki", n.Path("/etc/kubernetes/kubelet-pki")))
		s.rewrite(n, "/etc/kubernetes/kubelet.conf", c.path, strings.Replace(c.path, "/var/lib/kubelet/pki/", "kubelet-pki/", 1))
		s.must(s.cp.DeleteNode(s.ctx, c.name))
		e := s.start(n, s.args()...).end()
		pod.lives()
		s.member(e.is(0, "Recovered").counts(0, 0, 1, 0).says(`no Node "` + c.name + `"`).within(30 * time.Second))
	}
}

// The kubelet may be newer than nodejoin, and have a key of a kind that only the next Go knows.
func TestKeyOfAnUnknownKindIsNoReasonForAReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(47)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	s.must(s.foreignKey(s.node))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	e := s.join(s.args("--timeout", "90s", "--hold", "5s")...)
	pod.lives()
	if e.code == 10 {
		e.is(10, "Refused").counts(0, 0, atMostOne, 0).says("failed to parse private key")
	} else {
		s.member(e.is(0, "Recovered").counts(0, 0, 1, 0).says(`no Node "w1"`))
	}
}

// Nor where nobody but those credentials could tell the name.
func TestKeyOfAnUnknownKindAndAnotherNameAreAPersonsJob(t *testing.T) {
	s := tellLive(t, named("w1x"))
	s.fault(47)
	s.join(s.args()...).is(0, "Joined")
	pod, before := s.loaded(s.node, "w1x"), s.nodeNamed("w1x")
	s.must(s.foreignKey(s.node))
	e := s.join(s.args("--timeout", "90s")...)
	pod.lives()
	e.is(10, "Refused").counts(0, 0, atMostOne, 0).says("failed to parse private key", "w1x")
	s.undisturbed(before)
}

// foreignKey puts a key of an algorithm that does not exist in the place of the kubelet's, which is started again and alone
// understands its key.
func (s *story) foreignKey(n *testbed.Node) error {
	good, err := n.ReadFile(currentPair)
	if err != nil {
		return err
	}
	cert, _ := pem.Decode(good)
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := asn1.Marshal(struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 99}}, raw}) // a neighbour of ML-DSA's
	if err != nil {
		return err
	}
	pair := string(pem.EncodeToMemory(cert)) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	if err := n.ShowKubelet(currentPair, string(good)); err != nil {
		return err
	}
	if err := n.StopUnit("kubelet"); err != nil {
		return err
	}
	// the path is a symlink, which only the machine itself follows rightly
	if err := n.WriteFile("/root/pair.pem", pair, 0o600); err != nil {
		return err
	}
	if _, err := n.Run(s.ctx, "cp", "/root/pair.pem", currentPair); err != nil {
		return err
	}
	if err := n.StartUnit("kubelet"); err != nil {
		return err
	}
	s.eventually(30*time.Second, func() bool { return strings.Contains(n.Log("kubelet"), "was previously registered") }, "the kubelet does not understand its own key")
	return nil
}
