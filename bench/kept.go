package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// keptFor is how long the store of the backlog is of use: eventd's default retention
// removes events after three days.
const keptFor = 48 * time.Hour

// kept says what store a folder of -backlog has: the store in data, this in kept.json.
type kept struct {
	Stored int       `json:"stored"`
	Size   int       `json:"size"`
	Built  time.Time `json:"built"`
}

// find returns the folder of the store that is as wanted, "" when there is none, and an
// error when there is another one.
func (k *kept) find(folder string) (data string, err error) {
	text, err := os.ReadFile(filepath.Join(folder, "kept.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if list, err := os.ReadDir(filepath.Join(folder, "data")); err == nil && len(list) > 0 {
			return "", fmt.Errorf("%s holds no backlog that was finished: remove it or name another folder", folder)
		}
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var there kept
	if err := json.Unmarshal(text, &there); err != nil {
		return "", fmt.Errorf("%s: kept.json: %w", folder, err)
	}
	switch {
	case there.Stored != k.Stored || there.Size != k.Size:
		return "", fmt.Errorf("%s holds %d events of %d bytes: give -stored %[2]d -size %[3]d, or another folder", folder, there.Stored, there.Size)
	case time.Since(there.Built) > keptFor:
		return "", fmt.Errorf("%s was made on %s, and its events go after three days: remove it", folder, there.Built.Format(time.DateTime))
	}
	return filepath.Join(folder, "data"), nil
}

// fill has the store made, and then says that it is there.
func (k *kept) fill(folder string, store func(data string) error) (data string, err error) {
	data = filepath.Join(folder, "data")
	part := data + ".part" // of an attempt that did not come to its end
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.RemoveAll(part)); err != nil {
		return "", err
	}
	k.Built = time.Now().UTC()
	if err := store(part); err != nil {
		return "", err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return "", err
	}
	return data, errors.Join(os.Rename(part, data), os.WriteFile(filepath.Join(folder, "kept.json"), text, 0o600))
}
