package storage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

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

// TestMappedPagesAreReleased: the memory that the file takes does not grow with it.
func TestMappedPagesAreReleased(t *testing.T) {
	path := storePath(t)
	db := openTest(t, path)
	const size = 512 << 10
	for i := range 5 * releaseStep / size {
		a := newAdmission(event.Inbound, fmt.Sprint("e", i), "h")
		a.Payload = make([]byte, size)
		accept(t, db, a)
		if _, err := db.Payload(context.Background(), a.Event.Seq); err != nil {
			t.Fatal(err)
		}
	}
	if kib := mapped(t, path); kib == 0 || kib > 2*releaseStep>>10 {
		t.Errorf("%d KiB of the file are mapped; want some, and at most %d", kib, 2*releaseStep>>10)
	}
}
