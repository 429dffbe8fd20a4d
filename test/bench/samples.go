package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// sample is one number that was measured.
type sample struct {
	Row       string  `json:"row"`
	Contender string  `json:"contender"`
	What      string  `json:"what"`
	Run       int     `json:"run"`
	Value     float64 `json:"value"`
	Never     bool    `json:"never,omitempty"` // it did not happen while it was waited for
}

func (b *bench) add(s sample) {
	b.samples = append(b.samples, s)
	value := fmt.Sprintf("%.2f", s.Value)
	if s.Never {
		value = "never"
	}
	b.say("%-9s %-26s %-24s %s", s.Row, s.Contender, s.What, value)
}

// forget drops a row's old samples: it is measured anew.
func (b *bench) forget(row string) {
	b.samples = slices.DeleteFunc(b.samples, func(s sample) bool { return s.Row == row })
}

func (b *bench) load() error {
	raw, err := os.ReadFile(filepath.Join(b.results, "samples.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, &b.samples)
}

// of are the values of one series; never is how many did not happen.
func (b *bench) of(row, contender, what string) (values []float64, never int) {
	for _, s := range b.samples {
		if s.Row != row || s.Contender != contender || s.What != what {
			continue
		}
		if s.Never {
			never++
			continue
		}
		values = append(values, s.Value)
	}
	slices.Sort(values)
	return values, never
}

// quantile of sorted values; NaN of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func median(sorted []float64) float64 { return quantile(sorted, 0.5) }
