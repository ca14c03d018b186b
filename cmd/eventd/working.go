package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/eventd-io/eventd/api/client"
)

// working is one `eventd working get`, `put` or `patch`.
type working struct {
	remote
	from outgoing // -data and -file alone
	etag string
}

func workingGetCommand() *command {
	return &command{
		name: "working get", operands: "CORRELATION_ID", least: 1, most: 1, brief: "print the working data of a conversation",
		about: `Prints the working data of a conversation, one JSON object. With -etag it prints
its ETag instead, for -if-match.`,
		examples: `eventd working get order-17 | jq .amount
eventd working get order-17 -etag`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			w := &working{}
			w.remote.bind(p, fs)
			onlyTag := fs.Bool("etag", false, "print the ETag")
			return w.action(p, func(ctx context.Context, c *client.Client, id string) ([]byte, error) {
				body, etag, err := c.WorkingData(ctx, id)
				if *onlyTag {
					return []byte(etag), err
				}
				return body, err
			})
		},
	}
}

func workingPutCommand() *command {
	return &command{
		name: "working put", operands: "CORRELATION_ID", least: 1, most: 1, brief: "replace the working data of a conversation",
		about: `Puts a JSON object in the place of a conversation's working data and prints it.
At least one event must have the correlation id.`,
		examples: `eventd working put order-17 -data '{"amount": 120}'
eventd working put order-17 -file doc.json -if-match "$(eventd working get order-17 -etag)"`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			return amend(p, fs, (*client.Client).PutWorkingData)
		},
	}
}

func workingPatchCommand() *command {
	return &command{
		name: "working patch", operands: "CORRELATION_ID", least: 1, most: 1, brief: "merge values into working data",
		about: `Merges a JSON merge patch (RFC 7396) into the working data of a conversation and
prints what it is then: members of objects are merged, null takes one out.`,
		examples: `eventd working patch order-17 -data '{"state": "approved", "draft": null}'`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			return amend(p, fs, (*client.Client).PatchWorkingData)
		},
	}
}

func amend(p *program, fs *flag.FlagSet, change func(*client.Client, context.Context, string, []byte, string) ([]byte, string, error)) func(context.Context, []string) error {
	w := &working{}
	w.remote.bind(p, fs)
	fs.Var(&w.from.data, "data", "the JSON object, a `TEXT`")
	fs.StringVar(&w.from.file, "file", "", "the `FILE` with the JSON object; - for standard input, as when neither is given")
	fs.StringVar(&w.etag, "if-match", "", "only while the document has this `ETAG`")
	fs.StringVar(&w.service, "by", "", "who asks, a `NAME` for updated_by (default: the daemon's service)")
	return w.action(p, func(ctx context.Context, c *client.Client, id string) ([]byte, error) {
		body, err := w.from.payload(p, true)
		if err != nil {
			return nil, err
		}
		now, _, err := change(c, ctx, id, body, w.etag)
		return now, err
	})
}

// action returns what asks for a document and prints the answer.
func (w *working) action(p *program, ask func(context.Context, *client.Client, string) ([]byte, error)) func(context.Context, []string) error {
	return func(ctx context.Context, operands []string) error {
		c, err := w.client()
		if err != nil {
			return err
		}
		text, err := ask(ctx, c, operands[0])
		if err != nil {
			return w.unreached(ctx, err)
		}
		if newScreen(p.stdout, p.env).terminal {
			text = []byte(printableLines(string(text)))
		}
		_, err = fmt.Fprintf(p.stdout, "%s\n", text)
		return err
	}
}
