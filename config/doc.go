// Package config reads eventd's configuration file, completes it with defaults
// and checks it. What [Load] returns needs no further checking: every name it
// refers to exists, every value is in range, and nothing that a later version
// understands has been passed over in silence.
//
// Invariants:
//   - All problems are reported at once, each with file, line, column and path.
//   - One walk over the YAML nodes, led by the tags of the structs, decodes,
//     replaces ${…}, and finds unknown and duplicate keys. No type has an
//     UnmarshalYAML: on a mapping it would lose that strictness.
//   - ${…} is replaced in scalars after parsing, so a value can never become
//     structure.
//   - A secret is in the struct that the daemon works with and nowhere else:
//     problems and [Config.Redacted] show it as <redacted>.
//   - Defaults live in defaults.go alone.
//
// The struct tags are the one description of the file; decoder, schema,
// reference and [NeedsRestart] all read them:
//
//	yaml      the key; a blank field of type later is a key not supported yet
//	doc       its meaning, for the schema and docs/configuration.md
//	required  it must be given
//	enum      the values it may have; later: those not supported yet
//	zero      a word that stands for the zero value: unlimited, always, none
//	min, max  its range
//	form      what the text must look like, see forms.go; keys: the same for map keys
//	single    a list that may be written as one value
//	file      the path of a file that must be readable
//	restart   it cannot change while eventd runs
//
// Reading order: config.go (the structs), load.go, decode.go, interpolate.go,
// defaults.go, check.go, streams.go, redact.go.
package config
