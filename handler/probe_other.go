//go:build !unix

package handler

import "net"

// probe cannot look into a connection here: a request may meet one that was
// closed, and is tried again by the policy.
type probe struct{}

func newProbe(net.Conn) *probe { return nil }

func (*probe) quiet() bool { return true }
