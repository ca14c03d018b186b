package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/eventd-io/eventd/internal/freeport"
)

// TestMain lets the test binary stand for eventd: called by that name it runs
// main. So the product that the tests start, stop and kill is a process of its
// own, with the race detector in it when the tests have it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"eventd": main})
}

// TestScript runs testdata/script. Besides the usual commands there are:
//
//	ports NAME...           sets each variable to a free port
//	endpoint NAME           sets a variable to the URL of a service that answers
//	                        /N… with the status N, and /hang not at all
//	exits CODE program ...  runs a program and wants this exit code
//	[!] up URL [text]       waits until a URL answers 200 (or does not), with the text in its body
//	until text program ...  runs a program again until its output has the text
//	signal NAME             sends TERM or HUP to the program in the background
//	publish SUBJECT DATA [HEADER=VALUE...]   publishes through NATS on $NATS
//	append FILE text        appends a line to a file
//	truncated FILE SIZE     cuts a file down to so many bytes
//	harmed FILE OLD NEW     puts one text in the place of another, in a file of bytes; both as Go writes them
//
// $EXAMPLES is the folder of the examples.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ports": setPorts, "endpoint": startEndpoint, "exits": exits, "up": up,
			"until": until, "signal": signalBackground, "publish": publish,
			"append": appendLine, "truncated": truncate, "harmed": harm,
		},
		Setup: func(e *testscript.Env) error {
			examples, err := filepath.Abs("../../examples")
			e.Setenv("EXAMPLES", examples)
			return err
		},
	})
}

// patience is how long tests wait for what must happen.
const patience = 20 * time.Second

// eventually asks again and again until it is told that it is so.
func eventually(so func() bool) bool {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return false
		case <-again.C:
		}
	}
	return true
}

// freePorts returns ports that nobody listens on now.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		port, err := freeport.Take()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func setPorts(ts *testscript.TestScript, _ bool, names []string) {
	ports, err := freePorts(len(names))
	ts.Check(err)
	for i, name := range names {
		ts.Setenv(name, ports[i])
	}
}

// answering answers /N with the status N. /hang answers when the caller has gone.
func answering(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	code, err := strconv.Atoi(first)
	if err != nil {
		<-r.Context().Done()
		return
	}
	w.WriteHeader(code)
}

func startEndpoint(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(answering))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d; want %d", got, want)
	}
}

func up(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.Join(args[1:], " ")
	var last string
	if !eventually(func() bool {
		ok, body := get(args[0])
		last = body
		return ok != neg && strings.Contains(body, text)
	}) {
		ts.Fatalf("%s does not come to that: %s", args[0], last)
	}
}

// get reports whether a URL answers 200, and the body or the error.
func get(url string) (ok bool, body string) {
	c := http.Client{Timeout: time.Second}
	resp, err := c.Get(url)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode == http.StatusOK, string(b)
}

func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	if !eventually(func() bool {
		_ = ts.Exec(args[1], args[2:]...)
		return pattern.MatchString(ts.ReadFile("stdout"))
	}) {
		ts.Fatalf("it does not come to that")
	}
}

func signalBackground(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

func publish(ts *testscript.TestScript, _ bool, args []string) {
	m := nats.NewMsg(args[0])
	m.Data = []byte(args[1])
	for _, h := range args[2:] {
		name, value, _ := strings.Cut(h, "=")
		m.Header.Add(name, value)
	}
	conn, err := nats.Connect("nats://127.0.0.1:" + ts.Getenv("NATS"))
	ts.Check(err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	ts.Check(err)
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	_, err = js.PublishMsg(ctx, m)
	ts.Check(err)
}

func appendLine(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.Join(args[1:], " "))
	ts.Check(err)
}

func truncate(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

func harm(ts *testscript.TestScript, _ bool, args []string) {
	old, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	instead, err := strconv.Unquote(`"` + args[2] + `"`)
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if !bytes.Contains(b, []byte(old)) || len(old) != len(instead) {
		ts.Fatalf("%s does not have %q, or %q is not as long", args[0], old, instead)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), bytes.ReplaceAll(b, []byte(old), []byte(instead)), 0o600))
}

// inProcess runs the command line without a process of its own.
func inProcess(env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := &program{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, env: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}}
	code = p.run(args)
	return code, out.String(), errs.String()
}

// TestHelpOfEachCommand holds the help of all commands to what help is for.
func TestHelpOfEachCommand(t *testing.T) {
	_, overview, _ := inProcess(nil, "", "help")
	for _, c := range commands() {
		if c.name == "" {
			continue
		}
		if !strings.Contains(overview, fmt.Sprintf("  %s ", c.name)) {
			t.Errorf("the overview does not name %q", c.name)
		}
		words := strings.Fields(c.name)
		code, out, errs := inProcess(nil, "", append(words, "-h")...)
		if code != 0 || errs != "" {
			t.Errorf("eventd %s -h: exit code %d, %q; want 0 and nothing", c.name, code, errs)
		}
		if _, same, _ := inProcess(nil, "", append([]string{"help"}, words...)...); same != out {
			t.Errorf("eventd help %s differs from eventd %s -h", c.name, c.name)
		}
		for _, want := range []string{"Usage: eventd " + c.name, "\nExamples:\n  eventd " + c.name, c.about} {
			if !strings.Contains(out, want) {
				t.Errorf("eventd %s -h lacks %q", c.name, want)
			}
		}
		for line := range strings.Lines(out) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 115 {
				t.Errorf("eventd %s -h: a line of %d columns: %s", c.name, n, line)
			}
		}
	}
}
