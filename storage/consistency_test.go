package storage

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Inconsistencies returns what in the file of a closed store does not fit
// together: what bbolt's own check of the pages finds, and what [Check] does.
// Events under quarantine are left out. The file is not changed.
func Inconsistencies(path string) (problems []string, err error) {
	return inconsistencies(path, false)
}

// inconsistencies is Inconsistencies of a store that retention may have taken
// events from.
func inconsistencies(path string, thinned bool) (problems []string, err error) {
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := b.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			problems = append(problems, err.Error())
		}
		return nil
	}); err != nil {
		return nil, err
	}
	report, err := Check(ctx, CommandOptions{Path: path, LockTimeout: time.Second})
	if err != nil {
		return nil, err
	}
	return append(problems, report.Problems...), nil
}

// checkFile fails the test when the file of a closed store is not in order.
func checkFile(t testing.TB, path string) {
	t.Helper()
	problems, err := Inconsistencies(path)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		t.Errorf("check: %s", p)
	}
}
