package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// Command is the tree of commands, for whoever writes their manual.
func Command() *cobra.Command {
	return newProgram(nil, nil, nil, nil, nil).command()
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "nodejoin",
		Short: "Join this machine to a Kubernetes cluster, and see that it stays there",
		Long: `nodejoin runs kubeadm join on a worker and does not believe its word: it is done
when the API server shows this machine's Node, and the Node stays.`,
		Args:          noArguments,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(badFlag)
	joining := p.joinCommand()
	root.AddCommand(joining, p.checkCommand(joining), p.versionCommand())
	for _, command := range root.Commands() {
		complete(command)
		if command.ValidArgsFunction == nil {
			command.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	return root
}

func (p *program) joinCommand() *cobra.Command {
	o := &options{config: join.Defaults(), help: "`nodejoin join --help` explains the flags"}
	groups := []flagGroup{
		group("Flags of kubeadm join", o.kubeadmFlags),
		group("Flags of nodejoin", o.ownFlags),
		group("What the Node is registered with", o.nodeFlags),
		group("Output", o.outputFlags),
	}
	command := &cobra.Command{
		Use:   "join [ENDPOINT]",
		Short: "Join this machine to a cluster as a worker, and hold it there",
		Long: `Join this machine to a cluster as a worker.

It takes the flags of kubeadm join, so the line that
` + "`kubeadm token create --print-join-command`" + ` prints works with nodejoin in
kubeadm's place. On a machine that is a member already it touches nothing.

Each flag can also be given as an environment variable, ENDPOINT too: --node-name
as NODEJOIN_NODE_NAME, ENDPOINT as NODEJOIN_ENDPOINT. A flag wins.`,
		Example: `  nodejoin join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:$HASH
  nodejoin join 10.0.0.1:6443 --token-file /etc/nodejoin/token --discovery-token-ca-cert-hash sha256:$HASH --until ready
  nodejoin join --discovery-file /etc/nodejoin/cluster.conf --token-file - -o json
  nodejoin join --config /etc/nodejoin/kubeadm.yaml --timeout 10m --dry-run`,
		Args: oneEndpoint,
	}
	command.RunE = func(c *cobra.Command, args []string) error { return p.join(c, o, args) }
	hidden := group("", o.hiddenFlags)
	for _, g := range append(groups, hidden) {
		command.Flags().AddFlagSet(g.flags)
	}
	command.SetUsageFunc(usage(groups, "\nExit status:\n"+exitStatusHelp()))
	return command
}

func (p *program) join(c *cobra.Command, o *options, args []string) error {
	flags := c.Flags()
	given, err := p.env.apply(flags)
	if err != nil {
		return err
	}
	o.endpoint(p.env, given, args)
	o.verbose(flags)
	for _, step := range []func() error{
		func() error { return o.refuse(flags) },
		func() error { return checkChoices(flags) },
		func() error { return o.tokens(given) },
	} {
		if err := step(); err != nil {
			return given.speak(err)
		}
	}
	o.config.Token.Stdin = p.in
	p.status = p.call(p.run, o, given, p.env.unknown(flags))
	return nil
}

// endpoint is the argument or, without one, the variable.
func (o *options) endpoint(env environment, given names, args []string) {
	switch endpoint := strings.TrimSpace(strings.Join(args, "")); {
	case endpoint != "":
		o.config.Endpoint = endpoint
	case env[endpointVariable] != "":
		o.config.Endpoint = env[endpointVariable]
		given[endpointName] = endpointVariable
	}
}

func (p *program) checkCommand(joining *cobra.Command) *cobra.Command {
	o := &options{config: join.Defaults(), help: "`nodejoin check --help` explains the flags", asked: true}
	ladder := group("With --all, as those of nodejoin join", o.ladderFlags)
	groups := []flagGroup{
		group("Flags", o.checkFlags),
		ladder,
		group("Output", o.outputFlags),
	}
	command := &cobra.Command{
		Use:   "check [--all [ENDPOINT]]",
		Short: "Tell whether this machine is a member now; nothing is changed",
		Long: `Ask the API server, with the kubelet's own credentials, whether this machine is a
member of its cluster just now, and tell how the last run of nodejoin join went.
Nothing is changed. The exit status is 0 for a member, 20 if it is proven not to
be one, 21 if nothing proves either. Without root it tells what it can see.

With --all it looks, before a join or after one, at all that a join needs, and
tells of each thing whether it is ok, why not and what to do, or that it could not
be seen: the name, the API server's address, port, certificate, pin, token and
clock, the container runtime, the kubelet, its certificate and Node, mounts, ports,
and kubeadm's version. A --token-command is run for it, as by a join. The exit
status is the same, but for flags and files that cannot be read (2).`,
		Example: "  nodejoin check\n  nodejoin check -o json\n  nodejoin check --all 10.0.0.1:6443 --token-file /etc/nodejoin/token --discovery-token-ca-cert-hash sha256:$HASH",
		Args: func(c *cobra.Command, args []string) error {
			if o.config.All {
				return oneEndpoint(c, args)
			}
			return noArguments(c, args)
		},
	}
	command.RunE = func(c *cobra.Command, args []string) error {
		// NODEJOIN_TIMEOUT is join's, and far too long for one question.
		notHere, err := []string{"timeout", "all"}, error(nil)
		if !o.config.All {
			ladder.flags.VisitAll(func(f *pflag.Flag) {
				if notHere = append(notHere, f.Name); f.Changed && err == nil {
					err = &usageError{message: fmt.Sprintf("--%s: is used with --all only", f.Name), hint: "`nodejoin check` asks with the kubelet's own credentials"}
				}
			})
		}
		var given names
		if err == nil {
			given, err = p.env.apply(c.Flags(), notHere...)
		}
		if err == nil {
			err = given.speak(checkChoices(c.Flags()))
		}
		if err != nil {
			return err
		}
		if o.config.All {
			o.endpoint(p.env, given, args)
			o.config.Token.Value, o.config.Token.Stdin = o.token, p.in
		}
		o.config.Hold = 0
		p.status = p.call(p.check, o, given, p.env.unknown(joining.Flags()))
		return nil
	}
	for _, g := range groups {
		command.Flags().AddFlagSet(g.flags)
	}
	command.SetUsageFunc(usage(groups, ""))
	return command
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c == c.Root() {
		u := &usageError{message: fmt.Sprintf("%q is no command of nodejoin's", args[0])}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			u.hint = fmt.Sprintf("did you mean `nodejoin %s`?", near[0])
		}
		return u
	}
	return &usageError{message: fmt.Sprintf("%s takes no arguments, %d given", c.CommandPath(), len(args))}
}

// oneEndpoint does not repeat the arguments: a token may be among them.
func oneEndpoint(c *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return &usageError{message: fmt.Sprintf("%s takes one argument, ENDPOINT; %d given", c.CommandPath(), len(args))}
}

// usage prints a command's flags under their headings.
func usage(groups []flagGroup, end string) func(*cobra.Command) error {
	return func(c *cobra.Command) error {
		w := c.OutOrStderr()
		fmt.Fprintf(w, "Usage:\n  %s\n\nExamples:\n%s\n", c.UseLine(), c.Example)
		for _, g := range groups {
			fmt.Fprintf(w, "\n%s:\n%s", g.title, g.flags.FlagUsagesWrapped(helpWidth))
		}
		_, err := fmt.Fprint(w, end)
		return err
	}
}

const helpWidth = 110
