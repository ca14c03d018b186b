package router

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"github.com/eventd-io/eventd/event"
)

// costLimit bounds the work of one evaluation, in CEL's units: some tens of
// milliseconds at the very most.
const costLimit = 100_000

// facts are the fields of an event that a `when` can read as `event`.
type facts struct {
	EventID       string    `cel:"event_id"`
	MessageType   string    `cel:"message_type"`
	Table         string    `cel:"table"`
	SourceService string    `cel:"source_service"`
	TargetService string    `cel:"target_service"`
	Topic         string    `cel:"topic"`
	CorrelationID string    `cel:"correlation_id"`
	CausationID   string    `cel:"causation_id"`
	CreatedBy     string    `cel:"created_by"`
	CreatedDttm   time.Time `cel:"created_dttm"`
	ContentType   string    `cel:"content_type"`
}

// conditions compiles `when` expressions. They have CEL's own functions only:
// those of its extension for strings can make of a text in a payload one of any
// size, in a single call, and the cost of a call is known after it.
type conditions struct{ env *cel.Env }

func newConditions() (*conditions, error) {
	env, err := cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true), nativeFacts),
		cel.Variable("event", cel.ObjectType("router.facts")),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("data", cel.DynType),
		cel.Variable("working", cel.MapType(cel.StringType, cel.DynType)),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &conditions{env: env}, nil
}

// compile returns the condition, or an error that says where it is wrong.
func (c *conditions) compile(expression string) (cel.Program, error) {
	ast, err := c.parse(expression)
	if err != nil {
		return nil, err
	}
	if t := ast.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, fmt.Errorf("gives %s, not true or false", t)
	}
	return c.program(ast)
}

// compileValue is compile for an expression of any type.
func (c *conditions) compileValue(expression string) (cel.Program, error) {
	ast, err := c.parse(expression)
	if err != nil {
		return nil, err
	}
	return c.program(ast)
}

func (c *conditions) parse(expression string) (*cel.Ast, error) {
	ast, issues := c.env.Compile(expression)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("column %d: %s", first.Location.Column()+1, first.Message)
	}
	return ast, nil
}

func (c *conditions) program(ast *cel.Ast) (cel.Program, error) {
	return c.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit))
}

// view is an event as expressions see it. The payload is decoded, and the
// working data read, when the first of them asks for it, and once.
type view struct {
	message *event.Message
	memory  *memory
	facts   *facts
	data    any
	decoded bool
}

// ResolveName implements [cel.Activation].
func (v *view) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return v.event(), true
	case "headers":
		if v.message.Headers == nil {
			return map[string]string{}, true
		}
		return v.message.Headers, true
	case "data":
		if !v.decoded {
			v.data, v.decoded = decodeData(v.message.Payload), true
		}
		return v.data, true
	case "working":
		doc, err := v.memory.of(v.conversation())
		return doc, err == nil
	}
	return nil, false
}

// conversation is the correlation id of an event; one that has none yet begins
// a conversation of its own.
func (v *view) conversation() string { return cmp.Or(v.message.CorrelationID, v.message.ID) }

// remember lets what comes after see the values a route remembers.
func (v *view) remember(values map[string]any) { v.memory.add(v.conversation(), values) }

// Parent implements [cel.Activation].
func (*view) Parent() cel.Activation { return nil }

func (v *view) event() *facts {
	if v.facts == nil {
		e := &v.message.Event
		v.facts = &facts{
			EventID: e.ID, MessageType: e.MessageType, Table: e.Table.String(),
			SourceService: e.SourceService, TargetService: e.TargetService, Topic: e.Topic,
			CorrelationID: e.CorrelationID, CausationID: e.CausationID, CreatedBy: e.CreatedBy,
			CreatedDttm: e.CreatedAt, ContentType: e.ContentType,
		}
	}
	return v.facts
}

// decodeData returns what `data` stands for: the JSON value, or the text or
// bytes of a payload that is not JSON.
func decodeData(payload []byte) any {
	var v any
	if err := json.Unmarshal(payload, &v); err == nil {
		return v
	}
	if utf8.Valid(payload) {
		return string(payload)
	}
	return payload
}

// errFalse: the condition was evaluated and is false.
var errFalse = errors.New("when is false")

// holds evaluates a condition; the error says why it does not hold. One that
// cannot be evaluated, as when the payload lacks a field it reads, does not.
func holds(p cel.Program, v *view) error {
	out, _, err := p.Eval(v)
	if err != nil {
		return fmt.Errorf("when cannot be evaluated: %w", err)
	}
	switch b := out.Value().(type) {
	case bool:
		if !b {
			return errFalse
		}
		return nil
	default:
		return fmt.Errorf("when gives %s, not true or false", out.Type().TypeName())
	}
}
