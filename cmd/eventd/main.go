// Command eventd is the daemon and the command line that looks at it and steers
// it.
//
// What holds always:
//   - Standard output has what was asked for and nothing else; all that is said
//     about it goes to standard error. So output can be piped and parsed.
//   - Every error is one clear line that says what to do, and an exit code of
//     the documented list; no stack trace.
//   - Text that came from outside is shown without its control characters: an
//     event cannot write to anyone's terminal.
//
// Reading order: program.go (one run of the command line), command.go (the
// commands and their help), serve.go (the daemon), remote.go (speaking to one),
// then a file for each command; table.go, screen.go and text.go print.
package main

import (
	"os"
)

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv}
	os.Exit(p.run(os.Args[1:]))
}
