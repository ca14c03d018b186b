package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/eventd-io/eventd/daemon"
)

// errSecondSignal: someone could not wait for the end in order.
var errSecondSignal = errors.New("ended at once by a second signal; attempts that ran are counted and tried again after the next start")

func serveCommand() *command {
	return &command{
		name: "", brief: "run the daemon", signals: true,
		about:    "Runs the daemon with a configuration file until SIGTERM or SIGINT.",
		examples: "eventd -config routes.yaml",
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			path := fs.String("config", "", "the configuration `FILE`")
			return func(ctx context.Context, _ []string) error {
				if *path == "" {
					return wrongUsage("-config FILE is missing")
				}
				return p.serve(ctx, *path)
			}
		},
	}
}

// serve runs the daemon and turns signals into what it understands: the first
// SIGTERM or SIGINT ends it in order, the second at once, SIGHUP reloads.
func (p *program) serve(ctx context.Context, path string) error {
	defer runtime.KeepAlive(fitMemory())
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	reload := make(chan struct{}, 1)
	ended := make(chan error, 1)
	build := readBuild()
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{
			ConfigPath: path, Env: p.env, Version: build.Version, Commit: build.Commit,
			Log: p.stderr, Reload: reload,
		})
	}()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				ask(reload)
			case ctx.Err() != nil:
				return errSecondSignal
			default:
				stop()
			}
		}
	}
}

// ask sends a request that one already waiting stands for as well.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
