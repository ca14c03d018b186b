package storage

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Restored tells what was put in place.
type Restored struct {
	*Report
	Kept string `json:"kept,omitempty"` // where the store is that was there before
}

// Restore copies a backup to where a store is to be. It is checked before it
// takes its place; until then, and after a failure, what was there is as it was.
// Errors: [ErrExists] without Force, and those of [Check]; [ErrCorrupt] also when
// something is wrong with it, which the report then tells.
func Restore(ctx context.Context, o PutOptions, backup string) (r Restored, err error) {
	o.complete()
	release, err := vacant(o.Path, o.LockTimeout, o.Force)
	if err != nil {
		return r, err
	}
	defer release()
	part, err := makePart(o.Path, partRestore)
	if err != nil {
		return r, err
	}
	defer os.Remove(part) // not there any more when it has taken its place
	if err := copyBytes(ctx, backup, part, o.Progress); err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.Report, err = Check(ctx, CommandOptions{Path: part, LockTimeout: o.LockTimeout, Progress: o.Progress})
	if err != nil {
		return r, fmt.Errorf("the copy of %s: %w", backup, err)
	}
	if r.Path = o.Path; !r.Clean() {
		return r, fmt.Errorf("%w: %s: %d damages, the first: %s", ErrCorrupt, backup, r.Damages, r.Problems[0])
	}
	r.Kept, err = put(part, o.Path, o.Force)
	return r, err
}

// copyBytes copies a file as it is, onto the disk.
func copyBytes(ctx context.Context, from, to string, p Progress) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // read only
	w, err := watch(ctx, in, p, "copying")
	if err != nil {
		return err
	}
	if err := needSpace(filepath.Dir(to), w.total); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close() // what counts is synced
	if _, err := io.CopyBuffer(out, io.NewSectionReader(w, 0, w.total), make([]byte, 1<<20)); err != nil {
		return err
	}
	return out.Sync()
}
