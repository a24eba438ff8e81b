package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// verdict is what a row shows, the better the less.
type verdict int

const (
	kept verdict = iota
	undecided
	broken
)

func (v verdict) String() string {
	return [...]string{"ok", "TOO NOISY TO TELL", "TOO SLOW"}[v]
}

// spread is some values, in order.
type spread []float64

func spreadOf(values []float64) spread { return slices.Sorted(slices.Values(values)) }

// at is the value that so large a part of all are below.
func (s spread) at(part float64) float64 { return s[int(part*float64(len(s)-1)+0.5)] }

// typical is the lower quartile. Others on the machine only ever add to a time, so that it is nearer than the median to what the
// machine takes for the work alone, and on a quiet machine it is much the same.
func (s spread) typical() float64 { return s.at(0.25) }

// milliseconds prints times in seconds: the lower quartile, and the smallest, the median and the largest one.
func (s spread) milliseconds() string {
	return fmt.Sprintf("%7.1f ms (%.1f, %.1f, %.1f)", s.typical()*1e3, s.at(0)*1e3, s.at(0.5)*1e3, s.at(1)*1e3)
}

// round is what has been measured side by side: some times of the one that is compared with, and as many of the other.
type round struct{ base, other []float64 }

// estimate is how two compare, and where the truth is with 95 % certainty.
type estimate struct{ value, low, high float64 }

// compared compares the typical times of all rounds by a ratio or a difference. The certainty is from resampling them (the
// percentile bootstrap, Efron 1979), which asks for no particular distribution.
func compared(rounds []round, by func(base, other float64) float64) estimate {
	const resamples = 2000
	random := rand.New(rand.NewPCG(1, 2)) // the same figures give the same verdict
	of := func(pick func(i int) round) float64 {
		var base, other []float64
		for i := range rounds {
			one := pick(i)
			base, other = append(base, one.base...), append(other, one.other...)
		}
		return by(spreadOf(base).typical(), spreadOf(other).typical())
	}
	var values []float64
	for range resamples {
		values = append(values, of(func(int) round { return rounds[random.IntN(len(rounds))] }))
	}
	found := spreadOf(values)
	return estimate{of(func(i int) round { return rounds[i] }), found.at(0.025), found.at(0.975)}
}

// against judges by a limit: noise alone neither keeps nor breaks it.
func (e estimate) against(limit float64) verdict {
	switch {
	case e.high <= limit:
		return kept
	case e.low > limit:
		return broken
	}
	return undecided
}

func over(base, other float64) float64 { return other / base }

func more(base, other float64) float64 { return other - base }
