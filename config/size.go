package config

import (
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// sizeUnits are the units of a size, largest first.
var sizeUnits = []struct {
	name  string
	bytes Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

const sizeForm = `^[0-9]+(TiB|GiB|MiB|KiB)$`

var (
	sizePattern = regexp.MustCompile(`^([0-9]+)([A-Za-z]+)$`)
	// otherUnits are those of other programs, with what they most likely mean here.
	otherUnits = map[string]string{"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}
)

// String writes a size with the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

func parseSize(text string) (Size, bool) {
	m := sizePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	for _, u := range sizeUnits {
		if err == nil && u.name == m[2] && n <= math.MaxInt64/int64(u.bytes) {
			return Size(n) * u.bytes, true
		}
	}
	return 0, false
}

func setSize(v reflect.Value, text string, tag reflect.StructTag) string {
	if onlyDigits.MatchString(text) {
		meant := text + "MiB"
		if word := tag.Get("zero"); word != "" && strings.Trim(text, "0") == "" {
			meant = word
		}
		return valueMark + " has no unit (did you mean " + meant + "?)"
	}
	s, ok := parseSize(text)
	if m := sizePattern.FindStringSubmatch(text); !ok && m != nil {
		if unit := otherUnits[strings.ToLower(m[2][:1])]; unit != "" && len(m[2]) <= 3 && m[2] != unit {
			return valueMark + " has the unit " + m[2] + ", which is not known (did you mean " + m[1] + unit + "?)"
		}
	}
	if !ok {
		return mismatch(v, tag)
	}
	v.SetInt(int64(s))
	return outside(tag, func(limit string) Size {
		l, _ := parseSize(limit)
		return s - l
	})
}
