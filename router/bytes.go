package router

// roomBytes returns how many bytes of payloads may be counted now. The caller
// holds mu.
func (d *dispatcher) roomBytes() int {
	n := heldBytes - d.bytes
	if most := d.handler.Bytes; most > 0 {
		n = min(n, most-d.carried-d.bytes)
	}
	return n
}

// portion returns after how many bytes of payloads no more are read.
func (d *dispatcher) portion() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.handler.Bytes == 0 {
		return heldBytes
	}
	return max(d.roomBytes(), 1) // one fits always
}
