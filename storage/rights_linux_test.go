package storage

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// asNobody runs f without the rights of root over files.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // the rights are the thread's
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setfsuid(0) }()
	f()
}

func TestFileWithoutRights(t *testing.T) {
	path := fillStore(t)
	before := digest(t, path)
	dir := filepath.Dir(path)
	for _, c := range []struct {
		name      string
		file, dir os.FileMode
		path      string
	}{
		{"read-only file", 0o444, 0o755, path},
		{"file that is not to be read", 0o000, 0o755, path},
		{"no file in a read-only folder", 0o444, 0o555, filepath.Join(dir, "new.db")},
		{"no folder in a read-only folder", 0o444, 0o555, filepath.Join(dir, "new", "new.db")},
		{"folder that is not to be entered", 0o644, 0o000, path},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Chmod(path, c.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, c.dir); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Chmod(dir, 0o755) }()
			var err error
			asNobody(t, func() { _, err = Open(Options{Path: c.path}) })
			if err == nil {
				t.Fatal("Open = nil; want it refused")
			}
			wantError(t, err, filepath.Dir(path), ErrUnavailable, "permission denied")
		})
	}
	if digest(t, path) != before {
		t.Error("the file was changed")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	accept(t, openTest(t, path), newAdmission(event.Inbound, "after", "h"))
}

func TestPipeInPlaceOfTheFile(t *testing.T) {
	path := storePath(t)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, path, ErrUnavailable, "is not a regular file")
}
