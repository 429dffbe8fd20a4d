// Command kubeadm stands in for kubeadm and the kubelet in a storm of hundreds of joins on one host, which the real ones
// would not let it survive. What it does over the network is real: it waits for a signed cluster-info as kubeadm does,
// asks for the Node with the token, gets a certificate by a CertificateSigningRequest, and registers the Node and its CSINode with it. It
// speaks without client-go, whose start would cost the API server's host more of its processor than all else here.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	switch args[0] {
	case "reset":
		for _, path := range []string{kubeletConf, certificate, caCert} {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	case "join":
		t, err := target(args[1:])
		if err != nil {
			return err
		}
		return t.join(context.Background())
	}
	return nil
}

const (
	kubeletConf = "/etc/kubernetes/kubelet.conf"
	certificate = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	caCert      = "/etc/kubernetes/pki/ca.crt"
)

// joining is what one join needs to know.
type joining struct {
	endpoint, token, name string
	ca                    []byte
	server                string
}

// target reads `join --config FILE`, as nodejoin calls it, or `join ENDPOINT --token TOKEN ...`, as people do.
func target(args []string) (*joining, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	j := &joining{name: name}
	if i := slices.Index(args, "--config"); i < 0 {
		j.endpoint, j.token = args[0], args[slices.Index(args, "--token")+1]
		return j, nil
	} else if raw, err := os.ReadFile(args[i+1]); err != nil {
		return nil, err
	} else {
		var config struct {
			Discovery struct {
				BootstrapToken struct{ Token, APIServerEndpoint string }
			}
			NodeRegistration struct{ Name string }
		}
		if err := yaml.Unmarshal(raw, &config); err != nil {
			return nil, err
		}
		j.endpoint, j.token = config.Discovery.BootstrapToken.APIServerEndpoint, config.Discovery.BootstrapToken.Token
		if config.NodeRegistration.Name != "" {
			j.name = config.NodeRegistration.Name
		}
	}
	return j, nil
}

const discoveryPoll = 5 * time.Second // kubeadm's

func (j *joining) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := j.discover(ctx); err != nil {
		return err
	}
	client, err := newClient(j.server, j.ca, j.token, nil)
	if err != nil {
		return err
	}
	var node core.Node
	if err := client.call(ctx, http.MethodGet, nodesPath+"/"+j.name, nil, &node); err == nil {
		for _, c := range node.Status.Conditions {
			if c.Type == core.NodeReady && c.Status == core.ConditionTrue {
				return fmt.Errorf("a Node with name %q and status \"Ready\" already exists in the cluster", j.name)
			}
		}
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	for _, name := range []string{"kubeadm-config", "kubelet-config", "kube-proxy"} {
		err := client.call(ctx, http.MethodGet, "/api/v1/namespaces/kube-system/configmaps/"+name, nil, &core.ConfigMap{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	pair, err := j.certificate(ctx, client)
	if err != nil {
		return err
	}
	if err := j.write(pair); err != nil {
		return err
	}
	return j.register(ctx, pair)
}

func (j *joining) discover(ctx context.Context) error {
	anonymous, err := newClient("https://"+j.endpoint, nil, "", nil)
	if err != nil {
		return err
	}
	anonymous.Timeout = 10 * time.Second
	id, _, _ := strings.Cut(j.token, ".")
	for {
		var info core.ConfigMap
		err := anonymous.call(ctx, http.MethodGet, infoPath, nil, &info)
		if err == nil && info.Data["jws-kubeconfig-"+id] != "" {
			var config struct {
				Clusters []struct {
					Cluster struct {
						Server string
						CA     []byte `json:"certificate-authority-data"`
					}
				}
			}
			if err := yaml.Unmarshal([]byte(info.Data["kubeconfig"]), &config); err != nil {
				return err
			}
			for _, c := range config.Clusters {
				j.ca, j.server = c.Cluster.CA, c.Cluster.Server
			}
			if len(j.ca) == 0 {
				return errors.New("cluster-info names no CA")
			}
			// once more, over a connection that is verified, for the CA is pinned: kubeadm's token.RetrieveValidatedConfigInfo
			again, err := newClient("https://"+j.endpoint, j.ca, "", nil)
			if err != nil {
				return err
			}
			return again.call(ctx, http.MethodGet, infoPath, nil, &info)
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(discoveryPoll):
		}
	}
}

const (
	infoPath  = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
	nodesPath = "/api/v1/nodes"
	csrsPath  = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
)

// client speaks to one API server.
type client struct {
	http.Client
	server, token string
}

// newClient verifies the server by ca, if there is one, and shows it token or pair, if there are.
func newClient(server string, ca []byte, token string, pair []byte) (*client, error) {
	config := &tls.Config{InsecureSkipVerify: ca == nil}
	if ca != nil {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(ca)
	}
	if pair != nil {
		certificate, err := tls.X509KeyPair(pair, pair)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return &client{http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, // client-go's
		TLSClientConfig: config, ForceAttemptHTTP2: true,
	}}, server, token}, nil
}

// tries is how often client-go repeats a request that it is asked to.
const tries = 10

// ask sends a request, again if the server asks for that; the answer is there for the caller to read, or else an error of
// the API's.
func (c *client) ask(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	for left := tries; ; left-- {
		request, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("User-Agent", "kubeadm")
		request.Header.Set("Content-Type", "application/json")
		if c.token != "" {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		response, err := c.Do(request)
		if err != nil {
			return nil, err
		}
		if response.StatusCode < http.StatusBadRequest {
			return response.Body, nil
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		wait, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil || left == 0 {
			refused := &apierrors.StatusError{}
			if json.Unmarshal(text, &refused.ErrStatus) != nil || refused.ErrStatus.Code == 0 {
				return nil, fmt.Errorf("%s: %s", response.Status, text)
			}
			return nil, refused
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(wait) * time.Second):
		}
	}
}

// call sends one request and reads the answer into out.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(out)
}

func (j *joining) user() string { return "system:node:" + j.name }

// certificate gets the kubelet's, certificate and key in one PEM.
func (j *joining) certificate(ctx context.Context, client *client) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: j.user(), Organization: []string{"system:nodes"}}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		return nil, err
	}
	var csr certificates.CertificateSigningRequest
	if err := client.call(ctx, http.MethodPost, csrsPath, &certificates.CertificateSigningRequest{
		ObjectMeta: meta.ObjectMeta{GenerateName: "csr-"},
		Spec: certificates.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: certificates.KubeAPIServerClientKubeletSignerName,
			Usages: []certificates.KeyUsage{certificates.UsageDigitalSignature, certificates.UsageClientAuth},
		},
	}, &csr); err != nil {
		return nil, fmt.Errorf("requesting a certificate: %w", err)
	}
	news, err := client.ask(ctx, http.MethodGet, csrsPath+"?watch=true&fieldSelector=metadata.name%3D"+csr.Name, nil)
	if err != nil {
		return nil, fmt.Errorf("watching the request: %w", err)
	}
	defer news.Close()
	for stream := json.NewDecoder(news); ; {
		var event struct {
			Object certificates.CertificateSigningRequest
		}
		if err := stream.Decode(&event); err != nil {
			return nil, fmt.Errorf("watching the request: %w", err)
		}
		if len(event.Object.Status.Certificate) > 0 {
			raw, err := x509.MarshalECPrivateKey(key)
			if err != nil {
				return nil, err
			}
			return append(event.Object.Status.Certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})...), nil
		}
	}
}

// write leaves the files that kubeadm and the kubelet would, in their order.
func (j *joining) write(pair []byte) error {
	conf := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: %q, certificate-authority: %s}}]
users: [{name: default, user: {client-certificate: %s, client-key: %s}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
`, j.server, caCert, certificate, certificate)
	for _, f := range []struct {
		path string
		text []byte
	}{{caCert, j.ca}, {kubeletConf, []byte(conf)}, {certificate, pair}} {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.path+".new", f.text, 0o600); err != nil {
			return err
		}
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return err
		}
	}
	return nil
}

func (j *joining) register(ctx context.Context, pair []byte) error {
	client, err := newClient(j.server, j.ca, "", pair)
	if err != nil {
		return err
	}
	var ids [2]string
	for i, path := range []string{"/proc/sys/kernel/random/boot_id", "/etc/machine-id"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		ids[i] = strings.TrimSpace(string(raw))
	}
	now := meta.Now()
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: j.name, Labels: map[string]string{"kubernetes.io/hostname": j.name}},
		Status: core.NodeStatus{
			NodeInfo:   core.NodeSystemInfo{BootID: ids[0], MachineID: ids[1]},
			Conditions: []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
		},
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 7*time.Second) { // as the kubelet does: tryRegisterWithAPIServer
		var made core.Node
		if err = client.call(ctx, http.MethodPost, nodesPath, node, &made); err == nil {
			return client.call(ctx, http.MethodPost, "/apis/storage.k8s.io/v1/csinodes", &storage.CSINode{
				ObjectMeta: meta.ObjectMeta{Name: j.name, OwnerReferences: []meta.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: j.name, UID: made.UID}}},
				Spec:       storage.CSINodeSpec{Drivers: []storage.CSINodeDriver{}},
			}, &storage.CSINode{})
		} else if apierrors.IsAlreadyExists(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("registering the Node: %w", err)
		case <-time.After(wait):
		}
	}
}
