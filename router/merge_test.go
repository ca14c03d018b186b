package router

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestMergePatch has the cases of RFC 7396, appendix A.
func TestMergePatch(t *testing.T) {
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// and what it says beside them
		{`{}`, `{"a":[{"b":null}]}`, `{"a":[{"b":null}]}`}, // arrays are taken as they are
		{`{"n":12345678901234567890.10}`, `{"m":1e400}`, `{"m":1e400,"n":12345678901234567890.10}`},
		{`{"a":"<&>"}`, `{"b":"é"}`, `{"a":"<&>","b":"é"}`},
	} {
		patch, err := decodeExactly([]byte(c.patch))
		if err != nil {
			t.Fatal(err)
		}
		got, err := merging(patch)([]byte(c.target))
		if err != nil || string(got) != c.want {
			t.Errorf("%s merged into %s = %s, %v; want %s", c.patch, c.target, got, err, c.want)
		}
	}
	if got, err := merging(map[string]any{"a": 1.0, "b": nil}, map[string]any{"a": nil, "c": "x"})(nil); err != nil || string(got) != `{"c":"x"}` {
		t.Errorf("two patches into nothing = %s, %v", got, err)
	}
}

// TestMergedAgain: a patch that is merged twice is as one that is merged once,
// and what a patch takes out is not there.
func TestMergedAgain(t *testing.T) {
	leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Just[any]("x"), rapid.Just[any](1.0), rapid.Just[any]([]any{nil, map[string]any{"a": nil}}))
	value := leaf
	for range 3 {
		inner := value
		value = rapid.OneOf(leaf, rapid.Custom(func(t *rapid.T) any {
			return rapid.MapOfN(rapid.StringMatching(`[abc]`), inner, 0, 3).Draw(t, "members")
		}))
	}
	rapid.Check(t, func(t *rapid.T) {
		target, patch := value.Draw(t, "target"), value.Draw(t, "patch")
		once := merged(target, patch)
		if twice := merged(once, patch); !reflect.DeepEqual(once, twice) {
			t.Fatalf("%v merged into %v is %v, and again %v", patch, target, once, twice)
		}
		members, _ := patch.(map[string]any)
		for name, value := range members {
			if _, there := once.(map[string]any)[name]; there == (value == nil) {
				t.Fatalf("%v merged into %v is %v: %s is there: %t", patch, target, once, name, there)
			}
		}
	})
}

// TestMergeChangesNeither: what was read stays what it was for who reads it.
func TestMergeChangesNeither(t *testing.T) {
	decode := func(s string) (v any) { _ = json.Unmarshal([]byte(s), &v); return v }
	const before, patch = `{"a":{"b":{"c":1}},"d":2}`, `{"a":{"b":{"c":null,"e":5}},"d":null}`
	target, p := decode(before), decode(patch)
	merged(target, p)
	for _, c := range []struct {
		what string
		v    any
		want string
	}{{"the target", target, before}, {"the patch", p, patch}} {
		if got, _ := json.Marshal(c.v); string(got) != c.want {
			t.Errorf("%s is %s afterwards; want %s", c.what, got, c.want)
		}
	}
}

func TestDecodeExactlyRefuses(t *testing.T) {
	for _, s := range []string{``, `{`, `{} {}`, `{}x`, `nil`} {
		if v, err := decodeExactly([]byte(s)); err == nil {
			t.Errorf("%q = %v; want an error", s, v)
		}
	}
}
