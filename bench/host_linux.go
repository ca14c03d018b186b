package main

import (
	"syscall"
	"time"
)

// dieWithParent has the kernel end a process when we are killed ourselves.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// pause sleeps with the resolution of the kernel. [time.Sleep] may be a
// millisecond late when a process is idle, which would count as latency.
func pause(d time.Duration) {
	t := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&t, nil) // a signal ends it early; the caller looks at the clock
}

// allocated returns how many bytes a file takes on its disk.
func allocated(sys any) int64 {
	if s, ok := sys.(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return 0
}
