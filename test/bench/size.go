package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// size: the stripped binary, and what each module that nodejoin asks for adds to it. A module is taken away by emptying
// the bodies of its functions, so that the linker drops whatever only they needed, while the program still compiles.
func (b *bench) size() error {
	whole, err := os.Stat(b.nodejoin)
	if err != nil {
		return err
	}
	b.add(sample{Row: "size", Contender: ours, What: "MB", Value: float64(whole.Size()) / 1e6})
	modules, err := b.modules()
	if err != nil {
		return err
	}
	names, err := b.packageNames()
	if err != nil {
		return err
	}
	for _, m := range modules {
		without, err := b.without(m, names)
		if err != nil {
			return fmt.Errorf("without %s: %w", m.Path, err)
		}
		b.add(sample{Row: "size", Contender: m.Path, What: "MB", Value: float64(whole.Size()-without) / 1e6})
	}
	return nil
}

type module struct {
	Path, Version, Dir string
	Main, Indirect     bool
}

// modules are those that nodejoin's go.mod asks for itself.
func (b *bench) modules() ([]module, error) {
	list := exec.CommandContext(b.ctx, "go", "list", "-m", "-json", "all")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the modules: %w", err)
	}
	used, err := b.usedModules()
	if err != nil {
		return nil, err
	}
	var all []module
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var m module
		if err := decoder.Decode(&m); err != nil {
			return nil, err
		}
		if !m.Main && !m.Indirect && used[m.Path] {
			all = append(all, m)
		}
	}
	return all, nil
}

// usedModules are those that the program is linked with: tests have others.
func (b *bench) usedModules() (map[string]bool, error) {
	list := exec.CommandContext(b.ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/nodejoin")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w", err)
	}
	used := map[string]bool{}
	for _, path := range strings.Fields(string(out)) {
		used[path] = true
	}
	return used, nil
}

// without is the size of a nodejoin whose module m does nothing.
func (b *bench) without(m module, names map[string]string) (int64, error) {
	dir, err := os.MkdirTemp(b.dir, "without-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	hollow := filepath.Join(dir, "module")
	if err := m.hollow(hollow, names); err != nil {
		return 0, err
	}
	modfile := filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return 0, err
		}
	}
	edit := exec.CommandContext(b.ctx, "go", "mod", "edit", "-replace", m.Path+"="+hollow, modfile)
	if out, err := edit.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("replacing it: %w\n%s", err, out)
	}
	// not inlined: a function that is seen to panic would take its callers along
	path, err := b.build("..", "./cmd/nodejoin", "without", "-modfile="+modfile, "-gcflags="+m.Path+"/...=-l")
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// hollow copies a module with empty functions.
func (m module) hollow(to string, names map[string]string) error {
	return filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(m.Dir, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".go") {
			if raw, err = emptied(path, raw, names); err != nil {
				return err
			}
		}
		return os.WriteFile(target, raw, 0o644)
	})
}

// packageNames tells how each package that the program is linked with calls itself.
func (b *bench) packageNames() (map[string]string, error) {
	list := exec.CommandContext(b.ctx, "go", "list", "-deps", "-f", "{{.ImportPath}} {{.Name}}", "./cmd/nodejoin")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the packages: %w", err)
	}
	names := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		names[path] = name
	}
	return names, nil
}

// emptied is a Go file whose functions only panic, without the imports that nobody needs any more.
func emptied(path string, raw []byte, names map[string]string) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, raw, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return raw, nil // a test's own bad example: nobody compiles it
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			// a comment inside a body would stay, at a place that is gone
			file.Comments = outside(file.Comments, f.Body)
			f.Body.List = nil
			if f.Type.Results != nil {
				f.Body.List = []ast.Stmt{&ast.ExprStmt{X: &ast.CallExpr{Fun: ast.NewIdent("panic"), Args: []ast.Expr{&ast.BasicLit{Kind: token.INT, Value: "0"}}}}}
			}
		}
	}
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		name := names[imported]
		if name == "" {
			name = filepath.Base(imported)
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name != "." && !used[name] {
			if imported == "unsafe" || imported == "embed" { // a directive may need it
				spec.Name = ast.NewIdent("_")
			} else {
				drop(file, spec)
			}
		}
	}
	var out strings.Builder
	if err := format.Node(&out, files, file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return []byte(out.String()), nil
}

// drop takes an import away; a declaration without any is legal.
func drop(file *ast.File, spec *ast.ImportSpec) {
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.IMPORT {
			continue
		}
		for i, s := range g.Specs {
			if s == spec {
				g.Specs = append(g.Specs[:i], g.Specs[i+1:]...)
				break
			}
		}
	}
}

func outside(comments []*ast.CommentGroup, body *ast.BlockStmt) []*ast.CommentGroup {
	var kept []*ast.CommentGroup
	for _, c := range comments {
		if c.Pos() < body.Pos() || c.End() > body.End() {
			kept = append(kept, c)
		}
	}
	return kept
}
