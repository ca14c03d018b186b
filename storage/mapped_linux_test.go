package storage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// mapped returns how many KiB of a file are mapped into this process.
func mapped(t *testing.T, path string) (kib int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.Contains(line, "-") && strings.Contains(line, " r") {
			inside = strings.HasSuffix(line, path)
		}
		var n int
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil && inside {
			kib += n
		}
	}
	return kib
}

// TestMappedPagesAreReleased: the memory that the file takes does not grow with
// it, nor with what is read of it.
func TestMappedPagesAreReleased(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	const size, events = 512 << 10, 100
	for i := range events {
		a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
		a.Payload = make([]byte, size)
		accept(t, db, a)
		db.released.Store(time.Now().UnixNano()) // now: not between reading and looking
		if _, err := db.Payload(context.Background(), a.Event.Seq); err != nil {
			t.Fatal(err)
		}
	}
	before := mapped(t, path)
	db.released.Store(0) // a long time ago
	if _, err := db.Payload(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	if after := mapped(t, path); before < size>>10 || after > max(before/10, 1<<10) {
		t.Errorf("%d KiB of the file are mapped after a while, %d before; want much less", after, before)
	}
	db.released.Store(0)
	accept(t, db, newAdmission(event.Inbound, "last", "h"))
	if after := mapped(t, path); after > max(before/10, 1<<10) {
		t.Errorf("%d KiB of the file are mapped after a commit", after)
	}
}
