package main

import (
	"math/rand/v2"
	"testing"
)

func TestSpread(t *testing.T) {
	s := spreadOf([]float64{9, 1, 8, 2, 7, 3, 6, 4, 5})
	for part, want := range map[float64]float64{0: 1, 0.25: 3, 0.5: 5, 1: 9} {
		if got := s.at(part); got != want {
			t.Errorf("%v: %v", part, got)
		}
	}
}

// side by side are rounds of work that takes 1 and factor, on a machine where others add up to noise to each.
func sideBySide(rounds int, factor, noise float64, seed uint64) []round {
	random := rand.New(rand.NewPCG(seed, seed))
	time := func(of float64) float64 { return of + random.Float64()*noise }
	all := make([]round, rounds)
	for i := range all {
		all[i] = round{[]float64{time(1), time(1)}, []float64{time(factor), time(factor)}}
	}
	return all
}

// Work that takes the same, or clearly longer, is seen to do so on a quiet machine, and never the wrong way round on a noisy one.
func TestVerdicts(t *testing.T) {
	const limit = 1.05
	wrong := 0
	for seed := range uint64(20) {
		for factor, want := range map[float64]verdict{1: kept, 1.1: broken} {
			if got := compared(sideBySide(9, factor, 0.02, seed), over).against(limit); got != want {
				t.Errorf("quiet, %v of the time: %v", factor, got)
			}
			if got := compared(sideBySide(9, factor, 1, seed), over).against(limit); got != want && got != undecided {
				wrong++
			}
		}
	}
	if wrong > 2 { // of 40, at 95 %
		t.Errorf("noise was taken for an answer %d times", wrong)
	}
	if got := compared(sideBySide(9, 1, 1, 1), more).against(0.05); got != undecided {
		t.Errorf("a difference within noise: %v", got)
	}
}
