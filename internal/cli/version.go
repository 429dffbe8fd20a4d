package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is what the Go toolchain knows of the program it built.
type version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Commit  string `json:"commit"`  // empty where the build knew none
	Changed bool   `json:"changed"` // the build's tree had changes on top of the commit
}

func programVersion() version {
	v := version{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.modified":
			v.Changed = setting.Value == "true"
		}
	}
	return v
}

func (v version) String() string {
	commit := "unknown"
	if v.Commit != "" {
		commit = v.Commit[:min(12, len(v.Commit))]
	}
	if v.Changed {
		commit += " with changes"
	}
	return fmt.Sprintf("nodejoin %s (%s, commit %s)", v.Version, v.Go, commit)
}

func (p *program) versionCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  nodejoin version -o json",
		Args:    noArguments,
	}
	flags := group("Flags", func(f *pflag.FlagSet) { outputFlag(f, &output, "the version") })
	command.Flags().AddFlagSet(flags.flags)
	command.SetUsageFunc(usage([]flagGroup{flags}, ""))
	command.RunE = func(c *cobra.Command, _ []string) error {
		given, err := p.env.apply(c.Flags())
		if err == nil {
			err = given.speak(checkChoices(c.Flags()))
		}
		if err != nil {
			return err
		}
		v := programVersion()
		line := v.String()
		if output == "json" {
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			line = string(raw)
		}
		writeWithin(p.out, []byte(line+"\n"), p.patience)
		return nil
	}
	return command
}
