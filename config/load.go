package config

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// maxFile is how many bytes of a configuration file, or of a file named in
// ${file:…}, are read.
const maxFile = 4 << 20

// A Check finds problems that this package cannot see, such as a filter that
// does not compile. It may be handed a Config that has other problems: names
// may be unknown, values missing. It makes its issues with [Config.Issue].
type Check func(*Config) []Issue

// Load reads the file at path. env looks up the variables of ${…}; os.LookupEnv
// is the usual one. A file with problems gives the error [Problems], which
// lists all of them; one that cannot be read, an error that wraps [os.PathError].
func Load(path string, env func(string) (string, bool), checks ...Check) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, env, checks...)
}

// Parse is [Load] for a file already read. Its name is for problems, and for
// the folder that paths in it start from.
func Parse(name string, data []byte, env func(string) (string, bool), checks ...Check) (*Config, error) {
	o := newOrigin(name, data)
	c := initial()
	c.origin = o
	if root := o.parse(data); root != nil {
		d := &decoder{origin: o, env: env, dir: filepath.Dir(name)}
		d.value(root, "", reflect.ValueOf(c).Elem(), "")
		c.complete()
		c.check()
		for _, check := range checks {
			o.issues = append(o.issues, check(c)...)
		}
	}
	if len(o.issues) > 0 {
		return nil, o.problems()
	}
	return c, nil
}

// Names returns the names in m in their order.
func Names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// readFile reads a regular file. Others could block, or never end.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	if info.Size() > maxFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}
