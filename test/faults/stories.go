package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The folders of the project with stories: those with real components, and those of the loop alone.
const (
	realFolder     = "test/e2e"
	scriptedFolder = "pkg/join"
)

// story is a test that says which faults it tells.
type story struct {
	folder, name string
	faults       []int
}

func (s story) scripted() bool { return s.folder == scriptedFolder }

// declared finds the stories in the tests' source, so that one which was not run is missed.
func declared(project string) ([]story, error) {
	var stories []story
	for _, folder := range []string{realFolder, scriptedFolder} {
		files, err := filepath.Glob(filepath.Join(project, folder, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			found, err := storiesIn(path, folder)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			stories = append(stories, found...)
		}
	}
	if len(stories) == 0 {
		return nil, errors.New("no stories found")
	}
	return stories, nil
}

func storiesIn(path, folder string) ([]story, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var stories []story
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		s := story{folder: folder, name: f.Name.Name}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if literal, is := faultOf(call); is {
					number, convErr := strconv.Atoi(strings.Trim(literal, `"`))
					if convErr != nil || number < 1 || number > len(faults) || !strings.HasPrefix(s.name, "Test") {
						err = fmt.Errorf("%s names the fault %q: it must be a number from 1 to %d, written in the test itself", s.name, literal, len(faults))
					}
					s.faults = append(s.faults, number)
				}
			}
			return true
		})
		if len(s.faults) > 0 {
			stories = append(stories, s)
		}
	}
	return stories, err
}

// faultOf knows s.fault(12) and t.Attr("fault", "12").
func faultOf(call *ast.CallExpr) (literal string, is bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	words := make([]string, len(call.Args))
	for i, arg := range call.Args {
		if l, ok := arg.(*ast.BasicLit); ok {
			words[i] = l.Value
		}
	}
	switch {
	case method.Sel.Name == "fault" && len(words) == 1:
		literal = words[0]
	case method.Sel.Name == "Attr" && len(words) == 2 && words[0] == `"fault"`:
		literal = words[1]
	}
	return literal, literal != "" // there are other things of that name, which take no number
}

// tellers are the stories of a fault, those with real components first.
func tellers(stories []story, fault int) []story {
	var found []story
	for _, s := range stories {
		if slices.Contains(s.faults, fault) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b story) int {
		if a.folder != b.folder {
			return -strings.Compare(a.folder, b.folder)
		}
		return strings.Compare(a.name, b.name)
	})
	return found
}
