package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// parts are the processes that a run is made of, beside eventd.
var parts = map[string]func(context.Context, []string) error{"nats": serveNATS, "sink": serveSink, "loop": runLoop}

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
	s, err := server.NewServer(&server.Options{Host: host, Port: n, JetStream: true, StoreDir: *dir})
	if err != nil {
		return err
	}
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	return nil
}

// sink answers 200 to every POST and counts. It reads HTTP/1.1 with the least
// work, so that it is not what limits a run.
type sink struct {
	count       atomic.Int64
	first, last atomic.Int64 // ns
}

func serveSink(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("sink", flag.ContinueOnError)
	listen := f.String("listen", "", "address")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	var s sink
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		go s.serve(conn)
	}
}

func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		post, length, err := readHead(r)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, length); err != nil {
			return
		}
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if post {
			now := time.Now().UnixNano()
			s.first.CompareAndSwap(0, now)
			s.last.Store(now)
			s.count.Add(1)
		} else {
			answer = s.seen()
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readHead reads a request up to its body.
func readHead(r *bufio.Reader) (post bool, length int64, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return false, 0, err
	}
	post = bytes.HasPrefix(line, []byte("POST "))
	for {
		line, err = r.ReadSlice('\n')
		if err != nil {
			return post, 0, err
		}
		if len(line) <= 2 {
			return post, length, nil
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(name), "content-length") {
			length, err = strconv.ParseInt(string(textproto.TrimBytes(value)), 10, 64)
			if err != nil {
				return post, 0, err
			}
		}
	}
}

func (s *sink) seen() []byte {
	body, _ := json.Marshal(seen{Count: int(s.count.Load()), Took: time.Duration(s.last.Load() - s.first.Load())})
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// runLoop is what one would write instead of using eventd: it records nothing.
func runLoop(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("loop", flag.ContinueOnError)
	url, target := f.String("nats", "", "address"), f.String("sink", "", "URL")
	workers := f.Int("workers", 64, "POSTs at the same time")
	if err := f.Parse(args); err != nil {
		return err
	}
	nc, err := nats.Connect("nats://" + *url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	c, err := js.CreateOrUpdateConsumer(ctx, "BENCH", jetstream.ConsumerConfig{
		Durable: "loop", FilterSubject: "bench.in", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1024,
	})
	if err != nil {
		return err
	}
	messages, err := c.Messages(jetstream.PullMaxMessages(512))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, messages.Stop)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: *workers, MaxConnsPerHost: *workers, DisableCompression: true,
	}}
	queue := make(chan jetstream.Msg, *workers)
	var running sync.WaitGroup
	for range *workers {
		running.Go(func() {
			for m := range queue {
				post(client, *target, m)
			}
		})
	}
	for {
		m, err := messages.Next()
		if err != nil {
			break
		}
		queue <- m
	}
	close(queue)
	running.Wait()
	if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) {
		return nil
	}
	return err
}

func post(client *http.Client, target string, m jetstream.Msg) {
	res, err := client.Post(target+"/", "application/json", bytes.NewReader(m.Data()))
	if err != nil {
		_ = m.NakWithDelay(time.Second)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode >= 300 {
		_ = m.NakWithDelay(time.Second)
		return
	}
	_ = m.Ack()
}
