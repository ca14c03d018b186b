package main

import (
	"context"
	"flag"
	"net"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// serveNATS is a NATS server with JetStream, configured as one finds it.
func serveNATS(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("nats", flag.ContinueOnError)
	listen, dir := f.String("listen", "", "address"), f.String("dir", "", "folder")
	if err := f.Parse(args); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(*listen)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{Host: host, Port: n, JetStream: true, StoreDir: *dir, NoSigs: true})
	if err != nil {
		return err
	}
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
