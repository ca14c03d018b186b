package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// adapter is a system that a file describes. It is to take messages from the
// stream, POST their bodies to the sink and acknowledge them after a 2xx.
type adapter struct {
	Name    string            `yaml:"name"`
	Command []string          `yaml:"command"` // argv
	Config  string            `yaml:"config"`  // text of a file, whose path is {config}
	Env     map[string]string `yaml:"env"`
}

func readAdapter(file string) (*adapter, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	var a adapter
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if a.Name == "" || len(a.Command) == 0 {
		return nil, fmt.Errorf("%s: name and command are required", file)
	}
	return &a, nil
}

func (a *adapter) name() string { return a.Name }

func (a *adapter) start(w *world, o order) (*running, error) {
	dir := filepath.Join(w.dir, "adapter")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	config := filepath.Join(w.dir, "adapter.config")
	fill := a.values(w, o, dir, config)
	if a.Config == "" && strings.Contains(strings.Join(a.Command, " "), "{config}") {
		return nil, errors.New("the command names {config}, but there is no config")
	}
	if err := os.WriteFile(config, []byte(fill.Replace(a.Config)), 0o600); err != nil {
		return nil, err
	}
	argv := make([]string, len(a.Command))
	for i, arg := range a.Command {
		argv[i] = fill.Replace(arg)
	}
	var env []string
	for name, value := range a.Env {
		env = append(env, name+"="+fill.Replace(value))
	}
	p, err := w.spawn("adapter", env, argv...)
	return &running{process: p, data: dir}, err
}

// values replaces the placeholders of an adapter file.
func (a *adapter) values(w *world, o order, dir, config string) *strings.Replacer {
	return strings.NewReplacer(
		"{nats}", "nats://"+w.nats, "{sink}", w.sink+"/", "{dir}", dir, "{config}", config,
		"{stream}", streamName, "{subject}", subjectIn, "{concurrency}", fmt.Sprint(o.workers))
}
