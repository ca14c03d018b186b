package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

const (
	markBegin = "<!-- bench:begin -->"
	markEnd   = "<!-- bench:end -->"
)

// writeMarkdown replaces what stands between the marks of a file.
func writeMarkdown(file string, s *summary) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := replaceMarked(old, markdown(s))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644)
}

// checkMarkdown tells before a long run whether its report could be written.
func checkMarkdown(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := replaceMarked(text, ""); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// replaceMarked puts text between the marks, which stay.
func replaceMarked(old []byte, text string) ([]byte, error) {
	if bytes.Count(old, []byte(markBegin)) != 1 || bytes.Count(old, []byte(markEnd)) != 1 {
		return nil, fmt.Errorf("want %s and %s in it, once each", markBegin, markEnd)
	}
	before, rest, _ := bytes.Cut(old, []byte(markBegin))
	_, after, found := bytes.Cut(rest, []byte(markEnd))
	if !found {
		return nil, fmt.Errorf("%s stands before %s", markEnd, markBegin)
	}
	return fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, markBegin, text, markEnd, after), nil
}

// markdown is the report as sections with a table each.
func markdown(s *summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.Setup)
	for _, one := range s.Scenarios {
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n", one.Name, upperFirst(one.About))
		head := columns(one)
		fmt.Fprintf(&b, "| %s |\n|---|---|---:|---:|---:|---:|---|---|\n", strings.Join(head, " | "))
		for _, r := range one.Rows {
			cells := r.cells()
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
		}
		if len(one.Notes) > 0 {
			b.WriteString("\n")
		}
		for _, n := range one.Notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	return b.String()
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
