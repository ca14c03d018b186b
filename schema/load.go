package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxFile is how many bytes a schema file may have.
const maxFile = 4 << 20

// Load reads and compiles the schema in a file. References to other files are
// followed within the folder of the file, those to the network never. A schema
// that does not say its draft is read as draft 2020-12. Errors say what is wrong
// in which file.
func Load(path string) (*Schema, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(&folder{root: root, dir: filepath.Dir(path)})
	s := &Schema{}
	at := fileURL(path)
	if s.fits, err = c.Compile(at); err != nil {
		return nil, explain(err)
	}
	const negation = "eventd:///negation"
	if err := c.AddResource(negation, map[string]any{"not": map[string]any{"$ref": at}}); err != nil {
		return nil, err
	}
	if s.fails, err = c.Compile(negation); err != nil {
		return nil, explain(err)
	}
	return s, nil
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

// folder loads the files of a folder.
type folder struct {
	root *os.Root // what a path must not lead out of, not by a link either
	dir  string
}

var errNetwork = errors.New("nothing is fetched: a $ref must lead to a file in the folder of the schema")

// Load implements [jsonschema.URLLoader].
func (f *folder) Load(at string) (any, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "file" {
		return nil, errNetwork
	}
	name, err := filepath.Rel(f.dir, filepath.FromSlash(u.Path))
	if err != nil || !filepath.IsLocal(name) {
		return nil, errors.New("it is outside of the folder of the schema")
	}
	text, err := f.read(name)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// read reads a regular file. Others could block, or never end.
func (f *folder) read(name string) ([]byte, error) {
	info, err := f.root.Stat(name)
	switch {
	case err != nil:
		return nil, cause(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}

// cause drops the path, which stands before the error anyway.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parse decodes a schema file; an error says in which line.
func parse(text []byte) (any, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(text[:min(syntax.Offset, int64(len(text)))], []byte("\n"))
		return nil, fmt.Errorf("line %d: not JSON: %w", line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return v, nil
}

// explain says in short what is wrong with a schema.
func explain(err error) error {
	var load *jsonschema.LoadURLError
	var broken *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	switch {
	case errors.As(err, &load):
		return fmt.Errorf("%s: %w", base(load.URL), load.Err)
	case errors.As(err, &broken) && errors.As(broken.Err, &invalid):
		return fmt.Errorf("%s is no JSON Schema: %s", base(broken.URL), tell(invalid))
	default:
		return errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
	}
}

// base returns the name of a file, and of what is none the whole URL.
func base(at string) string {
	if u, err := url.Parse(at); err == nil && u.Scheme == "file" {
		return filepath.Base(u.Path)
	}
	return at
}
