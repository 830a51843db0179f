package main

import (
	"errors"
	"fmt"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// publicPackages lists the import paths below dir that users may import: no main, no internal, no nested module.
func publicPackages(dir, modulePath string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			_, nested := os.Stat(filepath.Join(name, "go.mod"))
			if rel != "." && (base == "internal" || base == "testdata" || strings.HasPrefix(base, ".") || nested == nil) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			p := path.Join(modulePath, filepath.ToSlash(filepath.Dir(rel)))
			if !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
		return nil
	})
	slices.Sort(found)
	return found, err
}

// snapshots returns the text of each file in api/, by its name.
func snapshots(repo string, modules []module) (map[string]string, error) {
	texts := map[string]string{}
	for _, m := range modules {
		if !m.public() {
			continue
		}
		dir := filepath.Join(repo, m.dir)
		paths, err := publicPackages(dir, m.path)
		if err != nil {
			return nil, err
		}
		loaded, err := packages.Load(&packages.Config{
			Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps,
			Dir:  dir,
			Env:  append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"),
		}, paths...)
		if err != nil {
			return nil, err
		}
		for _, p := range loaded {
			if len(p.Errors) > 0 {
				return nil, p.Errors[0]
			}
			name := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(p.PkgPath, rootPath), "/"), "/", "-")
			if text := exported(p.Types); text != "" {
				texts[name+".txt"] = text
			}
		}
	}
	return texts, nil
}

// exported lists a package's exported names with their types, a line each, sorted.
func exported(pkg *types.Package) string {
	short := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		kind, isType := object.(*types.TypeName)
		if !isType {
			line := types.ObjectString(object, short)
			if c, ok := object.(*types.Const); ok {
				line += " = " + c.Val().ExactString()
			}
			add("%s", line)
			continue
		}
		structure, isStruct := kind.Type().Underlying().(*types.Struct)
		switch {
		case kind.IsAlias(), !isStruct:
			add("%s", types.ObjectString(kind, short))
		default:
			add("type %s struct", types.TypeString(kind.Type(), short))
			for field := range structure.Fields() {
				if field.Exported() {
					add("type %s struct, %s %s", name, field.Name(), types.TypeString(field.Type(), short))
				}
			}
		}
		if kind.IsAlias() {
			continue
		}
		if _, isInterface := kind.Type().Underlying().(*types.Interface); isInterface {
			continue
		}
		methods := types.NewMethodSet(types.NewPointer(kind.Type()))
		for method := range methods.Methods() {
			if method.Obj().Exported() {
				add("method (%s) %s%s", name, method.Obj().Name(),
					strings.TrimPrefix(types.TypeString(method.Type(), short), "func"))
			}
		}
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func writeAPI(repo string, modules []module) error {
	texts, err := snapshots(repo, modules)
	if err != nil {
		return err
	}
	dir := filepath.Join(repo, "api")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compareAPI reports each missing and each extra line of the files in api/.
func compareAPI(repo string, modules []module) error {
	texts, err := snapshots(repo, modules)
	if err != nil {
		return err
	}
	dir := filepath.Join(repo, "api")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%w: run .ci/release --api -write", err)
	}
	old := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		old[entry.Name()] = string(data)
		if _, ok := texts[entry.Name()]; !ok {
			texts[entry.Name()] = ""
		}
	}
	changes := 0
	for name, text := range texts {
		was, is := strings.Split(old[name], "\n"), strings.Split(text, "\n")
		for _, line := range was {
			if !slices.Contains(is, line) {
				fmt.Printf("%s: - %s\n", name, line)
				changes++
			}
		}
		for _, line := range is {
			if !slices.Contains(was, line) {
				fmt.Printf("%s: + %s\n", name, line)
				changes++
			}
		}
	}
	if changes > 0 {
		return errors.New("the exported API differs from api/: if that is meant, run .ci/release --api -write and add a line to CHANGELOG.md")
	}
	return nil
}
