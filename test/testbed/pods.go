package testbed

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PauseImage is what containerd makes pod sandboxes of, and what pods can be made of, after ImportPause. There is no registry
// in the testbed: a pod has to say imagePullPolicy: Never.
const PauseImage = "registry.invalid/pause:1"

// ImportPause gives the node's containerd its one image. Its program is called pause.
func (n *Node) ImportPause(ctx context.Context) error {
	if err := n.importPause(ctx); err != nil {
		return fmt.Errorf("importing %s on %s: %w", PauseImage, n.Name, err)
	}
	return nil
}

func (n *Node) importPause(ctx context.Context) error {
	archive, err := pauseArchive(ctx)
	if err != nil {
		return err
	}
	client, err := containerd.New(n.Path("/run/containerd/containerd.sock"), containerd.WithDefaultNamespace("k8s.io"))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Import(ctx, bytes.NewReader(archive))
	return err
}

// pauseArchive compiles the program and makes an image of it, as `docker save` would.
func pauseArchive(ctx context.Context) ([]byte, error) {
	dir, err := moduleDir()
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "nodejoin-pause-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", tmp, "./testbed/pause")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling pause: %w\n%s", err, output)
	}
	program, err := os.ReadFile(filepath.Join(tmp, "pause"))
	if err != nil {
		return nil, err
	}
	layer, err := tarOf(map[string][]byte{"pause": program})
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": []string{"/pause"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{PauseImage}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	return tarOf(map[string][]byte{"config.json": config, "manifest.json": manifest, "layer.tar": layer})
}

func tarOf(files map[string][]byte) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return archive.Bytes(), err
}

// RunPod runs a pod of the pause image on a Node and returns when it does. It shares the machine's PIDs, so that its processes
// are seen, and nothing but the end of its machine or of its object ends it.
func (cp *ControlPlane) RunPod(ctx context.Context, node string) error {
	if err := cp.runPod(ctx, "precious-"+node, node); err != nil {
		return fmt.Errorf("running a pod on %s: %w", node, err)
	}
	return nil
}

func (cp *ControlPlane) runPod(ctx context.Context, name, node string) error {
	yes, no, pods := true, false, cp.client.CoreV1().Pods("default")
	if err := cp.WaitServiceAccount(ctx, "default"); err != nil {
		return err
	}
	_, err := pods.Create(ctx, &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: name},
		Spec: core.PodSpec{
			NodeName: node, HostNetwork: true, HostPID: true, AutomountServiceAccountToken: &no, EnableServiceLinks: &no,
			Tolerations: []core.Toleration{{Operator: core.TolerationOpExists}},
			// privileged, for the testbed's runc has no libseccomp
			Containers: []core.Container{{Name: "precious", Image: PauseImage, ImagePullPolicy: core.PullNever, SecurityContext: &core.SecurityContext{Privileged: &yes}}},
		},
	}, meta.CreateOptions{})
	if err != nil {
		return err
	}
	return poll(ctx, 500*time.Millisecond, func() (bool, error) {
		pod, err := pods.Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return false, err
		}
		return pod.Status.Phase == core.PodRunning, fmt.Errorf("it is %s", pod.Status.Phase)
	})
}
