package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run of the command.
type bench struct {
	*options
	folder   string // for all files; removed at the end
	self     string // this program, for the parts
	eventd   string // built from this checkout
	adapters []system
	backlog  string   // folder of the store with finished events, "" before it is built
	notes    []string // what a reader of the report has to know
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	b := &bench{options: o}
	if err := checkMarkdown(o.markdownFile); err != nil {
		return nil, err
	}
	for _, file := range o.adapters {
		a, err := readAdapter(file)
		if err != nil {
			return nil, err
		}
		b.adapters = append(b.adapters, a)
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp(o.dir, "eventd-bench-"); err != nil {
		return nil, err
	}
	progress("building eventd…")
	if b.eventd, err = build(ctx, b.folder); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() { _ = os.RemoveAll(b.folder) }

// build makes eventd from the checkout that the bench lies in.
func build(ctx context.Context, folder string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	here := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(here) != "bench" {
		return "", errors.New("not in the folder bench of a checkout (cd bench && go run .)")
	}
	binary := filepath.Join(folder, "eventd")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/eventd")
	cmd.Dir = filepath.Dir(here)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// own is the eventd of this checkout.
func (b *bench) own() system { return eventd{"eventd", b.eventd} }

// eventds are the eventd of this checkout and those of -also.
func (b *bench) eventds() []system {
	list := []system{b.own()}
	for _, name := range slices.Sorted(maps.Keys(b.also)) {
		list = append(list, eventd{name, b.also[name]})
	}
	return list
}

// systems are who can be compared: the whole field, or just the loop and eventd.
func (b *bench) systems(field bool) []system {
	list := []system{loop{}}
	if field {
		list = append(list, watermill{})
	}
	list = append(list, b.eventds()...)
	if field {
		list = append(list, b.adapters...)
	}
	return list
}

// measure runs all scenarios. One whose ratio is below what -min-ratio asks for
// gets two more rounds.
func (b *bench) measure(ctx context.Context) ([]*result, error) {
	var list []*result
	for _, s := range b.scenarios {
		r := &result{scenario: s, samples: map[string][]sample{}}
		if err := b.rounds(ctx, r, b.options.rounds); err != nil {
			return nil, err
		}
		if want, ok := b.minRatio[s.name]; ok && r.mainRatio() < want {
			progress("%s: ratio %.2f is below %.2f; two more rounds", s.name, r.mainRatio(), want)
			if err := b.rounds(ctx, r, 2); err != nil {
				return nil, err
			}
		}
		r.notes, b.notes = b.notes, nil
		list = append(list, r)
	}
	return list, nil
}

// rounds measures all variants n more times, in turn.
func (b *bench) rounds(ctx context.Context, r *result, n int) error {
	variants := r.scenario.variants(b)
	r.variants = nil
	for _, v := range variants {
		r.variants = append(r.variants, v.name)
	}
	begun := len(r.samples[variants[0].name])
	for round := begun; round < begun+n; round++ {
		for _, v := range variants {
			s, err := b.round(ctx, v, filepath.Join(b.folder, fmt.Sprintf("%s-%d", r.scenario.name, round)))
			if err != nil {
				return fmt.Errorf("%s, %s, round %d: %w", r.scenario.name, v.name, round+1, err)
			}
			m := r.scenario.measures[0]
			progress("%s, round %d/%d, %-14s %12s %s", r.scenario.name, round+1, begun+n, v.name, number(s[m.key], m.digits), m.title)
			r.samples[v.name] = append(r.samples[v.name], s)
		}
	}
	return nil
}

// round measures one variant in a world of its own.
func (b *bench) round(ctx context.Context, v variant, dir string) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	w, err := newWorld(b, v.name, dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	return v.run(ctx, w)
}

// patience bounds one round. The slowest rate that is waited for is 500/s; the
// store of the backlog may be built in the round that needs it first.
func (b *bench) patience() time.Duration {
	return 2*time.Minute + b.load + b.warmup + time.Duration(b.messages)*2*time.Millisecond + time.Duration(b.stored)*time.Millisecond/2
}

// note remembers something for the report, once.
func (b *bench) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
		progress("note: %s", text)
	}
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
