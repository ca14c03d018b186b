package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/eventd-io/eventd/event"
)

// candidatesWord is the operand by which the scripts ask what may come next.
// People have no use for it.
const candidatesWord = "candidates"

func completionCommand() *command {
	return &command{
		name: "completion", operands: "SHELL", least: 1, most: 1000, brief: "print what makes a shell complete eventd's commands and flags",
		about: `Prints a script for bash, zsh or fish. With it the shell completes commands,
flags and, where there is a list of them, their values. It asks eventd each time,
so that it knows what the installed version knows.`,
		examples: `eventd completion bash > ~/.local/share/bash-completion/completions/eventd
eventd completion zsh > "${fpath[1]}/_eventd"
eventd completion fish > ~/.config/fish/completions/eventd.fish`,
		choices: func() []string { return slices.Sorted(maps.Keys(completionScripts)) },
		bind: func(p *program, _ *flag.FlagSet) func(context.Context, []string) error {
			return func(_ context.Context, operands []string) error { return p.complete(operands) }
		},
	}
}

func (p *program) complete(operands []string) error {
	if operands[0] == candidatesWord {
		for _, c := range candidates(commands(), operands[1:]) {
			fmt.Fprintf(p.stdout, "%s\t%s\n", c.word, c.about)
		}
		return nil
	}
	script, ok := completionScripts[operands[0]]
	if !ok || len(operands) > 1 {
		return wrongUsage("which shell? bash, zsh or fish")
	}
	_, err := fmt.Fprint(p.stdout, script)
	return err
}

// candidate is a word that may stand where the cursor is.
type candidate struct{ word, about string }

// candidates returns what may come next on a command line: words are those
// behind the program's name, the last of them as far as it is typed. None leaves
// it to the shell, which offers files.
func candidates(all []*command, words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	typed, before := words[len(words)-1], words[:len(words)-1]
	c, rest, group := place(all, before)
	var list []candidate
	switch {
	case group != nil:
		list = group
	case c != nil:
		list = c.candidates(all, rest, typed)
	}
	if len(before) == 0 && !strings.HasPrefix(typed, "-") {
		list = firstWords(all)
	}
	return slices.DeleteFunc(list, func(x candidate) bool { return !strings.HasPrefix(x.word, typed) })
}

// place returns the command that words name and those behind its name; or, when
// its second word is to come, what that may be.
func place(all []*command, words []string) (c *command, rest []string, group []candidate) {
	switch {
	case len(words) == 0 || strings.HasPrefix(words[0], "-"):
		return named(all, ""), words, nil
	case named(all, words[0]) != nil:
		return named(all, words[0]), words[1:], nil
	case len(words) > 1:
		return named(all, words[0]+" "+words[1]), words[2:], nil
	}
	for _, c := range all {
		if second, ok := strings.CutPrefix(c.name, words[0]+" "); ok {
			group = append(group, candidate{second, c.brief})
		}
	}
	return nil, nil, group
}

// firstWords are the first words of all commands, each once.
func firstWords(all []*command) (list []candidate) {
	for _, c := range all {
		first, _, more := strings.Cut(c.name, " ")
		about := c.brief
		if more {
			about = strings.Join(below(all, first), ", ")
		}
		if first != "" && !slices.ContainsFunc(list, func(x candidate) bool { return x.word == first }) {
			list = append(list, candidate{first, about})
		}
	}
	return list
}

// candidates are the values of the flag before the cursor, the flags, or what
// else the command takes.
func (c *command) candidates(all []*command, rest []string, typed string) (list []candidate) {
	fs := c.flags()
	if len(rest) > 0 {
		if f := fs.Lookup(strings.TrimLeft(rest[len(rest)-1], "-")); f != nil && strings.HasPrefix(rest[len(rest)-1], "-") && !isSwitch(f) {
			return values(f)
		}
	}
	if !strings.HasPrefix(typed, "-") {
		return c.operandCandidates(all, rest)
	}
	fs.VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		list = append(list, candidate{"-" + f.Name, usage})
	})
	return list
}

func (c *command) operandCandidates(all []*command, rest []string) (list []candidate) {
	if c.name == "help" {
		if _, _, group := place(all, rest); len(rest) > 0 {
			return group
		}
		return firstWords(all)
	}
	if c.choices != nil && len(rest) == 0 {
		for _, word := range c.choices() {
			list = append(list, candidate{word, ""})
		}
	}
	return list
}

// flags returns the flags of a command, with the defaults they have in an empty
// environment.
func (c *command) flags() *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.bind(&program{env: func(string) (string, bool) { return "", false }}, fs)
	return fs
}

// isSwitch reports whether a flag takes no value.
func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// values are the values a flag may have, where there is a list: by the word that
// its help has for them.
func values(f *flag.Flag) (list []candidate) {
	word, _ := flag.UnquoteUsage(f)
	switch word {
	case "TABLE":
		for _, t := range event.Tables {
			list = append(list, candidate{t.String(), ""})
		}
	case "STATUS":
		for _, s := range event.Statuses {
			list = append(list, candidate{s.String(), ""})
		}
	case "KEY=VALUE":
		for _, k := range filterKeys {
			list = append(list, candidate{k + "=", ""})
		}
	}
	return list
}

// completionScripts are the scripts by shell. Each asks eventd for candidates, a
// line each with a tab before what is said about it.
var completionScripts = map[string]string{
	"bash": `# Completion of eventd for bash.
_eventd() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" completion candidates -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _eventd eventd
`,
	"zsh": `#compdef eventd
# Completion of eventd for zsh.
_eventd() {
    local line word
    local -a list
    for line in "${(@f)$(${words[1]} completion candidates -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        word=${line%%$'\t'*}
        [[ -n $word ]] && list+=("${word//:/\\:}:${line#*$'\t'}")
    done
    if (( ${#list} )); then
        _describe eventd list
    else
        _files
    fi
}
if [[ $funcstack[1] == _eventd ]]; then
    _eventd "$@"
else
    compdef _eventd eventd
fi
`,
	"fish": `# Completion of eventd for fish.
function __eventd_candidates
    set -l list (eventd completion candidates -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)
    if set -q list[1]
        printf '%s\n' $list
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c eventd -f -a '(__eventd_candidates)'
`,
}
