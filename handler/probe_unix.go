//go:build unix

package handler

import (
	"errors"
	"net"
	"syscall"
)

// probe looks whether something came on an idle connection: a farewell, the end
// of it, or what nobody asked for. Either way it is of no more use.
type probe struct {
	raw  syscall.RawConn
	look func(fd uintptr) bool
	calm bool
	one  [1]byte
}

func newProbe(c net.Conn) *probe {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	p := &probe{raw: raw}
	p.look = func(fd uintptr) bool {
		_, err := syscall.Read(int(fd), p.one[:])
		p.calm = errors.Is(err, syscall.EAGAIN)
		return true
	}
	return p
}

// quiet reports that nothing came.
func (p *probe) quiet() bool {
	return p == nil || p.raw.Read(p.look) == nil && p.calm
}
