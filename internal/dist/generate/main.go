// Command generate writes what packages carry besides the binary and the files of internal/dist: man pages, compressed,
// and shell completions. It is a program of its own so that nothing of it is in nodejoin.
//
//	go run ./internal/dist/generate DIR DATE
//
// DATE (RFC 3339) goes into the pages: the commit's, so that two builds of one commit are alike.
package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/nodejoin/nodejoin/internal/cli"
)

// pages are those that are no command's. The heading of each has a place for the date.
//
//go:embed *.md
var pages embed.FS

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("want a directory and a date")
	}
	dir := args[0]
	date, err := time.Parse(time.RFC3339, args[1])
	if err != nil {
		return err
	}
	// What an older build left there would be packed too.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	root := cli.Command()
	root.DisableAutoGenTag = true
	for _, command := range append(root.Commands(), root) {
		if err := manual(dir, command, date); err != nil {
			return fmt.Errorf("the manual of %s: %w", command.CommandPath(), err)
		}
	}
	for _, name := range []string{"nodejoin.7", "nodejoin-ec2.7", "nodejoin.service.8"} {
		page, err := pages.ReadFile(name + ".md")
		if err != nil {
			return err
		}
		if err := write(dir, name, render(fmt.Sprintf(string(page), date.Format(time.DateOnly)))); err != nil {
			return err
		}
	}
	return completions(dir, root)
}

// manual writes the page of one command, in section 1.
func manual(dir string, command *cobra.Command, date time.Time) error {
	var page bytes.Buffer
	command.DisableAutoGenTag = true
	if err := doc.GenMan(command, &doc.GenManHeader{Section: "1", Date: &date, Source: "nodejoin", Manual: "nodejoin"}, &page); err != nil {
		return err
	}
	text, also, _ := strings.Cut(options.ReplaceAllString(page.String(), ".TP\n$1\n"), ".SH SEE ALSO\n")
	if _, table, ok := strings.Cut(command.UsageString(), "\nExit status:\n"); ok {
		text += render("## EXIT STATUS\n```\n" + table + "```\n")
	}
	text += render(files) + ".SH SEE ALSO\n" + strings.TrimRight(also, "\n") + ", \\fBnodejoin(7)\\fP, \\fBnodejoin-ec2(7)\\fP, \\fBnodejoin.service(8)\\fP\n"
	text = strings.Replace(text, date.Format(`"Jan 2006"`), date.Format(`"2006-01-02"`), 1)
	return write(dir, strings.ReplaceAll(command.CommandPath(), " ", "-")+".1", text)
}

// options finds what cobra writes of a flag: name and meaning in one paragraph, with a tab between them.
var options = regexp.MustCompile(`(?:\.PP\n)?(\\fB-.*)\n\t`)

const files = `## FILES
*/run/nodejoin/status.json*
:   how the run goes, and how the last one ended: what **--output=json** prints

*/var/lib/nodejoin/journal*
:   what an unfinished **kubeadm join** has written, with hashes, so that the next run can tell it from other people's files

*/etc/nodejoin/nodejoin.env*, */etc/nodejoin/token*
:   the settings and the token of **nodejoin.service(8)**
`

func render(markdown string) string { return string(md2man.Render([]byte(markdown))) }

// write compresses a page as the packaging policies want it, without the name and time that gzip(1) would put in.
func write(dir, name, page string) error {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	page = strings.ReplaceAll(page, "--", `\-\-`) // or it is set as two hyphens, and nobody can paste it
	if _, err := w.Write([]byte(page)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".gz"), packed.Bytes(), 0o644)
}

// completions are named as each shell looks for them.
func completions(dir string, root *cobra.Command) error {
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(dir, "nodejoin.bash"), true),
		root.GenZshCompletionFile(filepath.Join(dir, "_nodejoin")),
		root.GenFishCompletionFile(filepath.Join(dir, "nodejoin.fish"), true),
	)
}
