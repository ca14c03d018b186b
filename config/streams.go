package config

import (
	"slices"
	"strings"
)

// checkStreams notes subjects that two streams, or one stream twice, would
// capture: the server refuses that.
func (c *Config) checkStreams() {
	type captured struct{ stream, subject string }
	var all []captured
	for _, name := range Names(c.NATS.Streams) {
		for i, subject := range c.NATS.Streams[name].Subjects {
			path := item(join(join("nats.streams", name), "subjects"), i)
			if !c.origin.clean(path) {
				continue
			}
			for _, other := range all {
				if overlap(other.subject, subject) {
					c.origin.addf(path, "%q overlaps with %q of the stream %s; NATS allows a subject in one stream only",
						subject, other.subject, other.stream)
				}
			}
			all = append(all, captured{name, subject})
		}
	}
}

// capturedBy returns the declared stream that takes every message on subject,
// and one that takes some of them; "" for none.
func (c *Config) capturedBy(subject string) (all, some string) {
	for _, name := range Names(c.NATS.Streams) {
		for _, s := range c.NATS.Streams[name].Subjects {
			if covers(s, subject) {
				return name, name
			}
			if overlap(s, subject) {
				some = name
			}
		}
	}
	return "", some
}

func (c *Config) checkSources() {
	for _, name := range Names(c.Sources) {
		path := join("sources", name)
		s := c.Sources[name]
		if !c.origin.clean(path) || !c.origin.clean("nats") {
			continue
		}
		c.checkCaptured(path, s)
		if c.origin.has("dead_letter") && c.origin.clean("dead_letter") && c.receives(s, c.DeadLetter) {
			c.origin.addf("dead_letter", "%q is received by the source %s, so dead letters would come back for ever",
				c.DeadLetter, name)
		}
	}
}

// receives reports whether a source is known to receive what is published on
// subject.
func (c *Config) receives(s Source, subject string) bool {
	own := func(captured string) bool { return covers(captured, subject) }
	_, declared := c.NATS.Streams[s.Stream]
	sameStream := s.Stream == "" || declared && slices.ContainsFunc(c.NATS.Streams[s.Stream].Subjects, own)
	return sameStream && overlap(s.Subject, subject)
}

// checkCaptured looks whether a stream captures the source's subject, as far as
// that can be known: an external server may have streams that the file does
// not mention.
func (c *Config) checkCaptured(path string, s Source) {
	stream, declared := c.NATS.Streams[s.Stream]
	all, some := c.capturedBy(s.Subject)
	switch {
	case declared:
		if !slices.ContainsFunc(stream.Subjects, func(own string) bool { return overlap(own, s.Subject) }) {
			c.origin.addf(join(path, "subject"), "the stream %s does not capture %q; it has %s",
				s.Stream, s.Subject, and(stream.Subjects))
		}
	case s.Stream != "" && !c.NATS.External():
		c.origin.addf(join(path, "stream"), "no stream in nats.streams is named %q%s",
			s.Stream, didYouMean(s.Stream, Names(c.NATS.Streams)))
	case s.Stream != "" || all != "":
	case some != "":
		c.origin.addf(join(path, "subject"), "the stream %s captures only some of %q", some, s.Subject)
	case c.NATS.External() && len(c.NATS.Streams) > 0:
		c.origin.addf(join(path, "subject"), "no stream in nats.streams captures %q%s; if the server has one, name it with stream",
			s.Subject, didYouMean(s.Subject, c.declaredSubjects()))
	}
}

func (c *Config) declaredSubjects() []string {
	var subjects []string
	for _, name := range Names(c.NATS.Streams) {
		subjects = append(subjects, c.NATS.Streams[name].Subjects...)
	}
	return subjects
}

// wanted is a subject that needs a stream, and the path that says so.
type wanted struct{ subject, path string }

// addAutomaticStreams sets EffectiveStreams. With the embedded server there is
// nobody else to create streams, so every subject that is received or
// published gets one of its own unless a stream captures it already. Its name
// depends on the subject alone: another file never needs an existing stream to
// be changed.
func (c *Config) addAutomaticStreams() {
	c.NATS.EffectiveStreams = make(map[string]Stream)
	for name, s := range c.NATS.Streams {
		c.NATS.EffectiveStreams[name] = s
	}
	if c.NATS.External() || !c.origin.clean("nats") {
		return
	}
	for _, w := range widest(c.wantedSubjects()) {
		c.addAutomaticStream(w)
	}
}

func (c *Config) addAutomaticStream(w wanted) {
	name := streamName(w.subject)
	if _, taken := c.NATS.EffectiveStreams[name]; taken {
		c.origin.addf(w.path, "no stream captures %q, and the name %s that its own would get is taken; declare one in nats.streams",
			w.subject, name)
		return
	}
	for _, other := range Names(c.NATS.EffectiveStreams) {
		for _, s := range c.NATS.EffectiveStreams[other].Subjects {
			if overlap(s, w.subject) {
				c.origin.addf(w.path, "%q overlaps with %q without being part of it; declare a stream for both in nats.streams",
					w.subject, s)
				return
			}
		}
	}
	if _, secret := c.origin.shown[w.path]; secret {
		c.origin.keepSecret(name)
	}
	c.NATS.EffectiveStreams[name] = Stream{Subjects: []string{w.subject}, MaxAge: automaticMaxAge, Replicas: 1}
}

// wantedSubjects returns the subjects that no declared stream captures.
func (c *Config) wantedSubjects() []wanted {
	var list []wanted
	add := func(subject, path string) {
		if all, _ := c.capturedBy(subject); all == "" && subject != "" && c.origin.clean(path) {
			list = append(list, wanted{subject, path})
		}
	}
	for _, name := range Names(c.Sources) {
		if s := c.Sources[name]; s.Stream == "" {
			add(s.Subject, join(join("sources", name), "subject"))
		}
	}
	for _, name := range Names(c.Handlers) {
		add(c.Handlers[name].Topic, join(join("handlers", name), KindTopic))
	}
	add(c.DeadLetter, "dead_letter")
	return list
}

// widest leaves out the subjects that others of the list cover.
func widest(list []wanted) []wanted {
	var kept []wanted
	for i, w := range list {
		covered := false
		for j, other := range list {
			same := other.subject == w.subject
			if same && j < i || !same && covers(other.subject, w.subject) {
				covered = true
			}
		}
		if !covered {
			kept = append(kept, w)
		}
	}
	return kept
}

// streamName makes the name of a stream out of a subject: orders.* becomes
// orders_ANY.
func streamName(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch token {
		case "*":
			tokens[i] = "ANY"
		case ">":
			tokens[i] = "ALL"
		}
	}
	return strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && !strings.ContainsRune(`.*>/\`, r) {
			return r
		}
		return '_'
	}, strings.Join(tokens, "_"))
}

// checkClaims notes streams that capture what services ask for over NATS: their
// acknowledgement would come before eventd's answer.
func (c *Config) checkClaims() {
	if !c.origin.clean("nats") || !c.origin.clean("service") {
		return
	}
	for _, name := range Names(c.Handlers) {
		path := join(join(join("handlers", name), KindPoll), "nats")
		if p := c.Handlers[name].Poll; p == nil || !p.NATS || !c.origin.clean(path) {
			continue
		}
		for _, subject := range []string{"eventd." + c.Service + ".claim." + name, "eventd." + c.Service + ".claims.*.*.*"} {
			if stream := c.anyStream(subject); stream != "" {
				c.origin.addf(path, "the stream %s captures %q, and would answer in place of eventd", stream, subject)
			}
		}
	}
}

// anyStream returns a stream that takes some of what is sent to a subject; "" for
// none that is known.
func (c *Config) anyStream(subject string) string {
	for _, name := range Names(c.NATS.EffectiveStreams) {
		for _, s := range c.NATS.EffectiveStreams[name].Subjects {
			if overlap(s, subject) {
				return name
			}
		}
	}
	return ""
}
