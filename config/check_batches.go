package config

// maxTogether is how many events of a handler may be on their way at once.
const maxTogether = 10_000

func (c *Config) checkBatch(path string, h *Handler) {
	o, batch := c.origin, join(path, "batch")
	if h.Batch == nil || !o.clean(batch) {
		return
	}
	if at := join(path, "format"); h.Format != "structured" && o.clean(at) {
		o.addf(at, "has no meaning beside batch, in which all events are in the structured form")
	}
	if n := h.Concurrency * h.Batch.Max; n > maxTogether && o.clean(join(path, "concurrency")) {
		o.addf(batch, "%d requests with %d events each are %d on their way at once; at most %d may be",
			h.Concurrency, h.Batch.Max, n, maxTogether)
	}
}

func (c *Config) checkAsync(path string, h *Handler) {
	if h.Async {
		if h.Batch != nil {
			c.forbid(join(path, "async"), "has no place beside batch: the answer to a batch says what became of each event")
		}
		return
	}
	for _, key := range []string{"async_timeout", "async_max"} {
		if c.origin.clean(join(path, "async")) {
			c.forbid(join(path, key), "has no meaning without async: true")
		}
	}
}
