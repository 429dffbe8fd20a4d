package main

import (
	"math/rand/v2"
	"slices"
)

// beside says of each series how it stands to the build before: the ratio of the medians, and the bounds of its 90 %
// interval, by drawing rounds again and again.
func (b *bench) beside() {
	type series struct{ row, what string }
	var told []series
	for _, s := range b.Samples {
		one := series{s.Row, s.What}
		if s.Contender != before || !b.own[s.Row] || slices.Contains(told, one) {
			continue
		}
		told = append(told, one)
		mine, _ := b.of(s.Row, ours, s.What)
		its, _ := b.of(s.Row, before, s.What)
		if len(mine) == 0 || len(its) == 0 || median(its) == 0 {
			continue
		}
		low, high := interval(mine, its)
		b.say("%s, %s: %s x the build before (90 %%: %s to %s; %d and %d runs)", s.Row, s.What, number(median(mine)/median(its)), number(low), number(high), len(mine), len(its))
	}
}

// interval is where 90 % of the ratios of medians lie that are drawn from two series.
func interval(mine, its []float64) (low, high float64) {
	const draws = 2000
	draw := func(of []float64) float64 {
		again := make([]float64, len(of))
		for i := range again {
			again[i] = of[rand.IntN(len(of))]
		}
		slices.Sort(again)
		return median(again)
	}
	ratios := make([]float64, draws)
	for i := range ratios {
		ratios[i] = draw(mine) / draw(its)
	}
	slices.Sort(ratios)
	return quantile(ratios, 0.05), quantile(ratios, 0.95)
}
