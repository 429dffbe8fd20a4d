package host

import (
	"cmp"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kubeletConfiguration is what counts here of a KubeletConfiguration.
type kubeletConfiguration struct {
	HealthzBindAddress string `json:"healthzBindAddress"`
	HealthzPort        *int   `json:"healthzPort"`
	Authentication     struct {
		X509 struct {
			ClientCAFile string `json:"clientCAFile"`
		} `json:"x509"`
	} `json:"authentication"`
}

func (h Host) kubeletConfiguration(path string) (config kubeletConfiguration, err error) {
	raw, err := os.ReadFile(h.Path(path))
	if err == nil {
		err = yaml.Unmarshal(raw, &config)
	}
	return config, err
}

// KubeletCA is the CA (PEM) of the API server that a kubelet with these arguments takes orders from: kubeadm join puts the
// cluster's there. nil: its configuration names none, or it cannot be read.
func (h Host) KubeletCA(args KubeletArgs) []byte {
	config, err := h.kubeletConfiguration(cmp.Or(args.Config, kubeletConfig))
	file := config.Authentication.X509.ClientCAFile
	if err != nil || !filepath.IsAbs(file) {
		return nil
	}
	ca, err := os.ReadFile(h.Path(file))
	if err != nil {
		return nil
	}
	return ca
}
