package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/eventd-io/eventd/daemon"
	"github.com/eventd-io/eventd/storage"
)

// storeCommands are the commands for the file of a store. Only backup speaks to
// a daemon; the others want the file for themselves.
func storeCommands() []*command {
	return []*command{
		storeCheckCommand(), storeBackupCommand(), storeRestoreCommand(), storeCompactCommand(),
		storeDumpCommand(), storeLoadCommand(), storeSalvageCommand(),
	}
}

// storeFile is the file of a store as a command line names it.
type storeFile struct {
	config, data string
	wait         time.Duration
	json         bool
}

func (f *storeFile) bind(fs *flag.FlagSet) {
	fs.StringVar(&f.config, "config", "", "the configuration `FILE` of the daemon whose store it is")
	fs.StringVar(&f.data, "data", "", "the `FOLDER` of the store, data_dir in the configuration")
	fs.DurationVar(&f.wait, "wait", 0, "`HOW-LONG` to wait while another process has it (default 5s, or as in -config)")
	fs.BoolVar(&f.json, "json", false, "print the result as JSON")
}

// options returns which file it is, be it there or not.
func (f *storeFile) options(p *program, operands []string) (o storage.CommandOptions, err error) {
	given := len(operands)
	for _, name := range []string{f.config, f.data} {
		if name != "" {
			given++
		}
	}
	if given != 1 {
		return o, wrongUsage("which store? One of -config FILE, -data FOLDER or the file itself, where the command takes one")
	}
	o.LockTimeout = f.wait
	switch {
	case f.data != "":
		o.Path = filepath.Join(f.data, daemon.StoreFile)
	case len(operands) > 0:
		o.Path = operands[0]
	default:
		c, err := daemon.Load(f.config, p.env)
		if err != nil {
			return o, err
		}
		o.Path = filepath.Join(c.DataDir, daemon.StoreFile)
		if o.LockTimeout == 0 {
			o.LockTimeout = c.Store.LockTimeout
		}
	}
	return o, nil
}

// gauge returns what tells on a terminal how far long work is, and what clears
// it away.
func (p *program) gauge() (progress storage.Progress, clear func()) {
	if !newScreen(p.stderr, p.env).terminal {
		return nil, func() {}
	}
	shown := false
	progress = func(stage string, done, total int64) {
		shown = true
		if total > 0 {
			fmt.Fprintf(p.stderr, "\r\x1b[K%s: %d%%", stage, 100*done/total)
			return
		}
		fmt.Fprintf(p.stderr, "\r\x1b[K%s: %s", stage, size(int(done)))
	}
	return progress, func() {
		if shown {
			shown = false
			fmt.Fprint(p.stderr, "\r\x1b[K")
		}
	}
}

// storeProblem says what to do about an error of the store.
func storeProblem(ctx context.Context, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted: nothing was put in place")
	case errors.Is(err, storage.ErrExists):
		return fmt.Errorf("%w (-force puts the new one in its place and keeps the old one beside it)", err)
	}
	return err
}

// lasted tells how long something took, as the last part of a line.
func lasted(started time.Time) string { return " in " + lasting(time.Since(started)) }

// tellKept tells where the store is that was there before.
func (p *program) tellKept(kept string) {
	if kept != "" {
		fmt.Fprintf(p.stderr, "The store that was there is %s now; remove it when it is not needed any more.\n", kept)
	}
}

// unfinished is a file that is being written beside its place.
type unfinished struct {
	*os.File
	place   string
	release func() // lets daemons have what is in its place
}

// create begins a file that nobody sees before all of it is there. Without force
// nothing may be in its place, and with it not the store of a daemon that runs.
func create(place string, force bool) (*unfinished, error) {
	if _, err := os.Lstat(place); err == nil && !force {
		return nil, existing(place)
	}
	release, err := storage.HoldOff(place, time.Second)
	if err != nil {
		return nil, fmt.Errorf("%s is not overwritten: %w", place, err)
	}
	f, err := os.CreateTemp(filepath.Dir(place), filepath.Base(place)+".part-*")
	if err != nil {
		release()
		return nil, err
	}
	return &unfinished{File: f, place: place, release: release}, nil
}

// notItself reports an output that is the very file that is read.
func notItself(from, out string) error {
	a, errA := os.Stat(from)
	b, errB := os.Stat(out)
	if errA == nil && errB == nil && os.SameFile(a, b) {
		return wrongUsage("-out %s is the store that is read", out)
	}
	return nil
}

func existing(place string) error {
	return fmt.Errorf("%s is there already (-force overwrites it)", place)
}

// finish puts the file in its place, on disk.
func (u *unfinished) finish(force bool) error {
	if err := errors.Join(u.Sync(), u.Close()); err != nil {
		return err
	}
	if err := u.appear(force); err != nil {
		return err
	}
	return storage.SyncFolder(filepath.Dir(u.place))
}

func (u *unfinished) appear(force bool) error {
	if force {
		return os.Rename(u.Name(), u.place)
	}
	if err := os.Link(u.Name(), u.place); errors.Is(err, os.ErrExist) {
		return existing(u.place)
	} else if err != nil {
		return os.Rename(u.Name(), u.place) // a file system without links
	}
	return nil
}

// discard removes what is not finished. After finish it does nothing that matters.
func (u *unfinished) discard() {
	u.release()
	_ = u.Close()
	_ = os.Remove(u.Name())
}
