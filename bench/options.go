package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// options of a run.
type options struct {
	messages, size, rounds, workers int
	stored                          int // finished events of the backlog
	load, warmup                    time.Duration
	scenarios                       []scenario
	adapters                        []string          // files
	also                            map[string]string // name -> binary of eventd
	minRatio                        map[string]float64
	jsonFile, svgFile, markdownFile string
	dir                             string // for files; "" is the system's
	keep                            string // folder of the store of the backlog; "" for one of the run
	profiles                        string // folder; "" for none
	list                            bool
}

const usage = `bench measures eventd against the loop one would write by hand.

  bench [flags] [scenario...]      without a scenario: drain
  bench [flags] all                every scenario
  bench list                       the scenarios, a line each

Flags may stand behind the scenarios too:

`

// parse reads the command line. What is not a flag is a scenario.
func parse(args []string) (*options, error) {
	o := &options{also: map[string]string{}, minRatio: map[string]float64{}}
	f := o.flags()
	var names []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			break
		}
		names, args = append(names, f.Arg(0)), f.Args()[1:]
	}
	if slices.Equal(names, []string{"list"}) {
		o.list = true
		return o, nil
	}
	return o, o.check(names)
}

func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	f.IntVar(&o.messages, "messages", 50_000, "messages that are drained in each round: `N`")
	f.IntVar(&o.size, "size", 1024, "`BYTES` of a message")
	f.IntVar(&o.rounds, "rounds", 3, "interleaved rounds: `N`")
	f.IntVar(&o.workers, "workers", 64, "requests at the same time: `N` (the scenario slow has 256)")
	f.IntVar(&o.stored, "stored", 0, "finished events that backlog and start begin with: `N` (default 5,000,000 with all, else 200,000)")
	f.DurationVar(&o.load, "load", 10*time.Second, "how long latency is measured at each load")
	f.DurationVar(&o.warmup, "warmup", 2*time.Second, "load before that, which is not counted")
	f.StringVar(&o.jsonFile, "json", "", "write every round's figures to `FILE`")
	f.StringVar(&o.svgFile, "svg", "", "draw the ratios into `FILE`")
	f.StringVar(&o.markdownFile, "markdown", "", "replace what stands between the marks <!-- bench:begin --> and <!-- bench:end --> of `FILE`")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`FOLDER` for the files of a run, which are removed; its disk is what is measured")
	f.StringVar(&o.keep, "backlog", "", "keep the store that backlog and start begin with in `FOLDER`, or use the one that is there: for two days, and for the same -stored and -size")
	f.StringVar(&o.profiles, "profiles", "", "write CPU, allocation and block profiles of eventd into `FOLDER`, which costs some of what is measured")
	f.Func("adapter", "`FILE` that describes another system for drain and latency-1k; may be repeated", func(s string) error {
		o.adapters = append(o.adapters, s)
		return nil
	})
	f.Func("also", "`NAME=BINARY` of another eventd to measure beside this one, such as an older build; may be repeated", func(s string) error {
		name, binary, ok := strings.Cut(s, "=")
		if !ok || name == "" || binary == "" {
			return errors.New("want NAME=BINARY")
		}
		o.also[name] = binary
		return nil
	})
	f.Func("min-ratio", "`SCENARIO=RATIO`: exit with 1 when the ratio is lower, after two more rounds; may be repeated", o.addMinRatio)
	return f
}

func (o *options) addMinRatio(s string) error {
	name, value, _ := strings.Cut(s, "=")
	ratio, err := strconv.ParseFloat(value, 64)
	if err != nil || ratio <= 0 {
		return errors.New("want SCENARIO=RATIO, such as drain=0.5")
	}
	o.minRatio[name] = ratio
	return nil
}

func (o *options) check(names []string) error {
	if len(names) == 0 {
		names = []string{"drain"}
	}
	all := slices.Contains(names, "all")
	for _, name := range names {
		if name != "all" && !slices.ContainsFunc(scenarios(), func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("no scenario is named %q; bench list shows them", name)
		}
	}
	for _, s := range scenarios() {
		if all || slices.Contains(names, s.name) {
			o.scenarios = append(o.scenarios, s)
		}
	}
	if o.stored == 0 {
		o.stored = 200_000
		if all {
			o.stored = 5_000_000
		}
	}
	if o.messages < 2 || o.rounds < 1 || o.workers < 1 || o.stored < 1 || o.load <= 0 || o.warmup < 0 {
		return errors.New("messages must be 2 or more, all other numbers positive")
	}
	if o.size < minSize {
		return fmt.Errorf("a message has at least %d bytes", minSize)
	}
	return errors.Join(absolute(&o.dir), absolute(&o.keep), o.checkGuards())
}

// absolute makes a folder mean the same to the processes, which work elsewhere.
func absolute(folder *string) (err error) {
	if *folder != "" {
		*folder, err = filepath.Abs(*folder)
	}
	return err
}

func (o *options) checkGuards() error {
	for name := range o.minRatio {
		i := slices.IndexFunc(o.scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("-min-ratio %s: that scenario is not run", name)
		}
		if o.scenarios[i].baseline == "" || !o.scenarios[i].measures[0].more {
			return fmt.Errorf("-min-ratio %s: it has no ratio of which more is better", name)
		}
	}
	return nil
}

func list(w io.Writer) error {
	t := tabwriter.NewWriter(w, 2, 8, 2, ' ', 0)
	for _, s := range scenarios() {
		fmt.Fprintf(t, "%s\t%s\n", s.name, s.about)
	}
	return t.Flush()
}
