package queue

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// Embedded says how the server inside this process runs.
type Embedded struct {
	Dir    string // holds its files, in the folder jetstream
	Listen string // host:port for other programs; "none" or "": in this process only
	// SyncInterval is how often files are synced; 0: before each message is
	// acknowledged.
	SyncInterval time.Duration
}

const startPatience = 10 * time.Second

// startServer starts a server and waits until it takes connections.
func startServer(e *Embedded, log zerolog.Logger) (*server.Server, error) {
	o := &server.Options{
		ServerName: "eventd", NoSigs: true, JetStream: true, StoreDir: filepath.Join(e.Dir, "nats"),
		SyncInterval: e.SyncInterval, SyncAlways: e.SyncInterval == 0, DontListen: true,
	}
	if e.Listen != "" && e.Listen != "none" {
		host, port, err := splitListen(e.Listen)
		if err != nil {
			return nil, err
		}
		o.Host, o.Port, o.DontListen = host, port, false
		// The server only logs that a port is taken and then never gets ready.
		l, err := net.Listen("tcp", e.Listen)
		if err != nil {
			return nil, fmt.Errorf("nats.embedded.listen: %w", err)
		}
		l.Close()
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	failed := &serverLog{log: log, fatal: make(chan string, 1)}
	s.SetLoggerV2(failed, false, false, false)
	go s.Start()
	if err := awaitServer(s, failed); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

func awaitServer(s *server.Server, l *serverLog) error {
	deadline := time.Now().Add(startPatience)
	for time.Now().Before(deadline) {
		select {
		case why := <-l.fatal:
			return fmt.Errorf("embedded NATS server: %s", why)
		default:
		}
		if s.ReadyForConnections(20 * time.Millisecond) {
			return nil
		}
	}
	return errors.New("embedded NATS server: not ready after " + startPatience.String())
}

func splitListen(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil {
		return "", 0, fmt.Errorf("nats.embedded.listen: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func (c *Conn) stopServer() {
	if c.server == nil {
		return
	}
	c.server.Shutdown()
	c.server.WaitForShutdown()
}

// serverLog takes the server's log lines. What it notes in passing is of no
// use to eventd's users.
type serverLog struct {
	log   zerolog.Logger
	fatal chan string
}

func (l *serverLog) line(e *zerolog.Event, format string, v []any) {
	e.Str("from", "nats-server").Msg(fmt.Sprintf(format, v...))
}

func (l *serverLog) Noticef(format string, v ...any) { l.line(l.log.Debug(), format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.line(l.log.Warn(), format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.line(l.log.Error(), format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.line(l.log.Debug(), format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.line(l.log.Trace(), format, v) }

// Fatalf must not end the process: the caller of startServer decides.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
