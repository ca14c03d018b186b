package storage

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// childMode is the variable that tells the test binary, started again by a
// test, which child to be; childPath names the store it works on.
const (
	childMode = "STORAGE_TEST_CHILD"
	childPath = "STORAGE_TEST_PATH"
)

// TestChild is what the test binary does as a child of one of the tests.
func TestChild(t *testing.T) {
	children := map[string]func(t *testing.T, path string){
		"lock": childLock, "load": childLoad, "full": childFull, "pinned": childPinned, "shrink": childShrink,
		"compact": childCompact, "compact again and again": childCompactAgain,
		"redrive": childRedrive, "remove": childRemove, "tight": childTight, "steady": childSteady, "end": childEnd, "carry": childCarry, "closed": childClosed,
	}
	mode := os.Getenv(childMode)
	if mode == "" {
		t.Skip("only for the children of other tests")
	}
	children[mode](t, os.Getenv(childPath))
}

// child is the test binary at work in another process.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
	in    io.WriteCloser
}

// startChild starts the test binary again. It is killed when the test ends.
func startChild(t *testing.T, mode, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.timeout=60s")}
	c.Env = append(os.Environ(), childMode+"="+mode, childPath+"="+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

// await reads what the child prints until it prints a line.
func (c *child) await(t *testing.T, line string) {
	t.Helper()
	for c.lines.Scan() {
		if c.lines.Text() == line {
			return
		}
	}
	t.Fatalf("the child ended before it printed %q", line)
}

// untilEnd keeps a child as it is until its parent lets go of it.
func untilEnd() { _, _ = io.Copy(io.Discard, os.Stdin) }

// childLock holds the store open.
func childLock(t *testing.T, path string) {
	db, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fmt.Println("locked")
	untilEnd()
}
