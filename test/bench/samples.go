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
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Never = s.Never || math.IsNaN(s.Value) || math.IsInf(s.Value, 0); s.Never {
		s.Value = 0
	}
	b.Samples = append(b.Samples, s)
	value := fmt.Sprintf("%.2f", s.Value)
	if s.Never {
		value = "never"
	}
	b.say("%-9s %-26s %-24s %s", s.Row, s.Contender, s.What, value)
}

// results is what a run leaves for others to look at: on what it was measured, and every sample.
type results struct {
	Machine    string   `json:"machine"`
	Kubernetes string   `json:"kubernetes"`
	Samples    []sample `json:"samples"`
}

const samplesFile = "samples.json"

// load takes up what earlier runs have measured.
func (b *bench) load() error {
	raw, err := os.ReadFile(filepath.Join(b.folder, samplesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b.results = results{} // what is in a slice already would shine through
	return json.Unmarshal(raw, &b.results)
}

// merge takes up what other runs have measured on such a machine; the rows of this one stay as they are.
func (b *bench) merge() error {
	machine, kubernetes := b.Machine, b.Kubernetes
	own := slices.DeleteFunc(slices.Clone(b.Samples), func(s sample) bool { return !b.own[s.Row] })
	if err := b.load(); err != nil {
		return err
	}
	same := b.Machine == machine && b.Kubernetes == kubernetes
	b.Samples = append(slices.DeleteFunc(b.Samples, func(s sample) bool { return !same || b.own[s.Row] }), own...)
	b.Machine, b.Kubernetes = machine, kubernetes
	return nil
}

// of are the values of one series; never is how many did not happen.
func (b *bench) of(row, contender, what string) (values []float64, never int) {
	for _, s := range b.Samples {
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
	if at == float64(low) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func median(sorted []float64) float64 { return quantile(sorted, 0.5) }
