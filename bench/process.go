package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// sampling is how often the memory of a process is looked at.
	sampling = 50 * time.Millisecond
	// grace is how long a process may take to end.
	grace = time.Minute
)

// process is one that runs beside us. Its output is in a file.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed once cmd.Wait has returned
	memory memory        // valid after exited
}

// memory is the most that a process had, in bytes.
type memory struct{ resident, anonymous int64 }

// spawn starts a program whose output goes to a file of that name in the folder.
func spawn(dir, name string, env []string, argv ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	return p, nil
}

// watch looks at the memory until the process has ended.
func (p *process) watch() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.cmd.Wait() // its state says how it ended
	}()
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	defer close(p.exited)
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
			m := memoryOf(p.cmd.Process.Pid)
			p.memory.resident = max(p.memory.resident, m.resident)
			p.memory.anonymous = max(p.memory.anonymous, m.anonymous)
		}
	}
}

// memoryOf reads the peak of the resident memory, and the anonymous memory of
// this moment: the kernel keeps no peak of that. ru_maxrss will not do: it
// begins with that of the parent.
func memoryOf(pid int) (m memory) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		kb, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, _ := strconv.ParseInt(kb, 10, 64)
		switch name {
		case "VmHWM":
			m.resident = n << 10
		case "RssAnon":
			m.anonymous = n << 10
		}
	}
	return m
}

// stop ends the process in an orderly way and returns its CPU time.
func (p *process) stop(ctx context.Context) (cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-ctx.Done():
		return 0, fmt.Errorf("%s did not end on SIGTERM\n%s", p.cmd.Path, p.tail())
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
}

// kill ends the process if it still runs, and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// gone is an error when the process has ended by itself.
func (p *process) gone() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s has ended: %s\n%s", p.cmd.Path, p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

// tail returns the end of what the process has written.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	const most = 2000
	return string(text[max(0, len(text)-most):])
}
