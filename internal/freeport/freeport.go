// Package freeport finds TCP ports for tests that start a process on them.
package freeport

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
)

// Ports below those that the kernel gives to connections and to whoever asks for
// any: none of these takes a port before the process that is started listens on it.
const (
	first = 10_000
	count = 20_000
)

var (
	mu   sync.Mutex
	next = os.Getpid() * 101 % count // apart from where other processes begin
)

// Take returns a port of 127.0.0.1 that nobody listens on, each once in a process.
func Take() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	for range count {
		next = (next + 1) % count
		port := strconv.Itoa(first + next)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("all ports are taken")
}
