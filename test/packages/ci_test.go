package packages

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestCIRunsWhatEverybodyRuns(t *testing.T) {
	var workflow struct {
		Jobs map[string]struct {
			RunsOn  string `json:"runs-on"`
			Timeout int    `json:"timeout-minutes"`
			Steps   []struct {
				Uses string            `json:"uses"`
				Run  string            `json:"run"`
				With map[string]string `json:"with"`
			} `json:"steps"`
		} `json:"jobs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/ci.yml")), &workflow); err != nil {
		t.Fatal(err)
	}
	job := workflow.Jobs["ci"]
	var did []string
	for _, step := range job.Steps {
		action, _, _ := strings.Cut(step.Uses, "@")
		did = append(did, action+step.Run)
		if action == "actions/setup-go" && step.With["go-version-file"] != "go.mod" {
			t.Errorf("the version of Go comes from %v", step.With)
		}
	}
	if want := []string{"actions/checkout", "actions/setup-go", "sudo --preserve-env=PATH,HOME make ci"}; !slices.Equal(did, want) {
		t.Errorf("the steps are %q, want %q", did, want)
	}
	if job.Timeout != 90 || job.RunsOn == "" {
		t.Errorf("the job is %+v", job)
	}
}
