package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker: -X main.version=v1.2.3 -X main.commit=1a2b3c4.
var (
	version = ""
	commit  = ""
)

// build says which eventd this is.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readBuild asks the linker first, then what the Go tool notes by itself, as
// `go install …@v1.2.3` does.
func readBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if b.Commit == "" && s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func versionCommand() *command {
	return &command{
		name: "version", brief: "print version, commit, Go version and platform",
		about:    "Prints which eventd this is.",
		examples: "eventd version\neventd version -json",
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			asJSON := fs.Bool("json", false, "print it as JSON")
			return func(context.Context, []string) error {
				b := readBuild()
				if *asJSON {
					return p.printJSON(b)
				}
				_, err := fmt.Fprintf(p.stdout, "eventd %s (commit %s, %s, %s)\n", b.Version, b.Commit, b.Go, b.Platform)
				return err
			}
		},
	}
}
