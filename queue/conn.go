package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/synadia-io/orbit.go/natscontext"
)

// Options say how to reach NATS. With Embedded set, a server runs in this
// process and everything about an external one is ignored.
type Options struct {
	Name            string // of the connection, as the server lists it
	URL             string // several are separated by commas
	CredentialsFile string
	User            string
	PasswordFile    string
	NKeyFile        string
	TokenFile       string
	Context         string // of the nats command line: a name or a path
	TLS             *TLSFiles
	Embedded        *Embedded
	Streams         []Stream // to be made if they are missing
	Log             zerolog.Logger
}

// TLSFiles are paths of PEM files; "" leaves it to the system.
type TLSFiles struct{ CA, Cert, Key string }

// Conn is a connection to NATS that is kept up until it is closed.
type Conn struct {
	log    zerolog.Logger
	server *server.Server // nil when external
	nats   *nats.Conn
	js     jetstream.JetStream

	refused chan error
	ctx     context.Context // of what runs in the background
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	problem  string        // why it is not connected
	up       chan struct{} // closed, and replaced, when the connection is there again
	streams  []Stream
	ensuring sync.Mutex
	rebuild  chan struct{} // asks for the streams to be ensured again
	acks     publications
	messages sync.Pool // of *message
}

// Open starts the embedded server, or connects to an external one. An external
// server that cannot be reached is no error: the connection is tried until the
// [Conn] is closed, and [Conn.Problem] says why there is none. Errors are those
// of the options, of files that cannot be read, and of a server that does not
// start.
func Open(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{
		log: o.Log, refused: make(chan error, 1), problem: "not connected yet", streams: o.Streams,
		up: make(chan struct{}), rebuild: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if o.Embedded != nil {
		s, err := startServer(o.Embedded, o.Log)
		if err != nil {
			return nil, err
		}
		c.server = s
	}
	if err := c.connect(&o); err != nil {
		c.stopServer()
		return nil, err
	}
	js, err := jetstream.New(c.nats)
	if err != nil {
		c.nats.Close()
		c.stopServer()
		return nil, fmt.Errorf("set up JetStream: %w", err)
	}
	c.js = js
	c.running.Go(c.ensureLoop)
	if c.server != nil {
		return c, c.awaitStreams(ctx)
	}
	return c, nil
}

// awaitStreams returns once the streams of the embedded server are there, so
// that whoever connects finds them.
func (c *Conn) awaitStreams(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.ensureStreams(ctx); err != nil {
		_ = c.Close(ctx)
		return err
	}
	return nil
}

func (c *Conn) connect(o *Options) (err error) {
	options := []nats.Option{
		nats.Name(o.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // a publication must not look sent while it waits in a buffer
		nats.Timeout(5 * time.Second), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(c.connected), nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.disconnected(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.setProblem(err.Error()) }),
		nats.ClosedHandler(c.closed),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.asyncError(err) }),
	}
	if c.server != nil {
		c.nats, err = nats.Connect("", append(options, nats.InProcessServer(c.server))...)
		return err
	}
	if options, err = authenticate(options, o); err != nil {
		return err
	}
	if o.Context != "" {
		c.nats, _, err = natscontext.Connect(o.Context, options...)
	} else {
		c.nats, err = nats.Connect(o.URL, options...)
	}
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if !c.nats.IsConnected() {
		c.setProblem("cannot reach " + redactURLs(o.URL))
	}
	return nil
}

// authenticate adds who we are. Files are read at each connect, so that rotated
// ones count, but must be readable now.
func authenticate(options []nats.Option, o *Options) ([]nats.Option, error) {
	for _, file := range []string{o.CredentialsFile, o.PasswordFile, o.NKeyFile, o.TokenFile} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
	}
	switch {
	case o.CredentialsFile != "":
		options = append(options, nats.UserCredentials(o.CredentialsFile))
	case o.NKeyFile != "":
		nkey, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("nkey_file: %w", err)
		}
		options = append(options, nkey)
	case o.TokenFile != "":
		options = append(options, nats.TokenHandler(func() string { return readSecret(o.TokenFile) }))
	case o.User != "":
		options = append(options, nats.UserInfoHandler(func() (string, string) { return o.User, readSecret(o.PasswordFile) }))
	}
	if o.TLS == nil {
		return options, nil
	}
	if o.TLS.CA != "" {
		options = append(options, nats.RootCAs(o.TLS.CA))
	}
	if o.TLS.Cert != "" {
		options = append(options, nats.ClientCert(o.TLS.Cert, o.TLS.Key))
	}
	if o.TLS.CA == "" && o.TLS.Cert == "" {
		options = append(options, nats.Secure())
	}
	return options, nil
}

func readSecret(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "" // the server then refuses, which is reported
	}
	return strings.TrimSpace(string(b))
}

func (c *Conn) connected(nc *nats.Conn) {
	c.mu.Lock()
	was := c.problem
	c.problem = ""
	close(c.up)
	c.up = make(chan struct{})
	c.mu.Unlock()
	if was != "" {
		c.log.Info().Str("server", redactURLs(nc.ConnectedUrl())).Msg("connected to NATS")
	}
	c.ensureSoon()
}

func (c *Conn) disconnected(err error) {
	c.acks.fail(nats.ErrDisconnected)
	why := "connection closed"
	if err != nil {
		why = err.Error()
	}
	if c.setProblem(why) && c.ctx.Err() == nil {
		c.log.Warn().Str("problem", why).Msg("connection to NATS is lost; trying again until it is back")
	}
}

// closed is told of the end of the connection. The client gives up by itself
// only when the same server refuses us twice in a row for the same reason.
func (c *Conn) closed(nc *nats.Conn) {
	if c.ctx.Err() != nil {
		return // by Close
	}
	err := nc.LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	c.setProblem(err.Error())
	c.acks.fail(err)
	c.refused <- err
}

// asyncError is told of errors that belong to no call. Permissions are what a
// person must mend; the rest shows in what does not work.
func (c *Conn) asyncError(err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Error().Err(err).Msg("NATS does not permit it")
		return
	}
	c.log.Debug().Err(err).Msg("NATS reports an error")
}

// setProblem says why there is no connection. It reports whether that is news.
func (c *Conn) setProblem(why string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.problem == ""
	c.problem = why
	return news
}

// back is closed when the connection is there again.
func (c *Conn) back() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// Connected reports whether there is a connection now.
func (c *Conn) Connected() bool { return c.nats.IsConnected() }

// Problem says why there is no connection; "" when there is one.
func (c *Conn) Problem() string {
	if c.Connected() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.problem == "" {
		return "not connected"
	}
	return c.problem
}

// Refused receives an error when the server has refused us twice in a row for
// the same reason, such as wrong credentials. The connection is then given up.
func (c *Conn) Refused() <-chan error { return c.refused }

// Close ends the connection, and the server when it is embedded. Sources and
// publications must have ended before.
func (c *Conn) Close(ctx context.Context) error {
	c.cancel()
	c.running.Wait()
	err := c.nats.FlushWithContext(ctx) // acknowledgements on their way
	if errors.Is(err, nats.ErrConnectionClosed) || !c.nats.IsConnected() {
		err = nil
	}
	c.nats.Close()
	c.stopServer()
	return err
}

// redactURLs takes user names and passwords out of server addresses.
func redactURLs(list string) string {
	parts := strings.Split(list, ",")
	for i, p := range parts {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(p), "://")
		if !ok {
			scheme, rest = "nats", p
		}
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			rest = rest[at+1:]
		}
		parts[i] = scheme + "://" + rest
	}
	return strings.Join(parts, ",")
}
