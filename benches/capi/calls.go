package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// moreForACall is what a short call from Go may take more than the same in Rust, in seconds.
const moreForACall = 2e-6

// calls compares the time of a short call, again and again in one process.
func (b *bench) calls() (verdict, error) {
	for i := range 10 {
		if _, err := b.command("create-layer", "-i", "layer-"+strconv.Itoa(i)); err != nil {
			return 0, err
		}
	}
	limit := strconv.FormatFloat(b.seconds/4, 'f', -1, 64)
	watch, err := watchOthers()
	if err != nil {
		return 0, err
	}
	var rounds []round
	var rust, cgo []float64
	for range 20 {
		a, err := mean(b.inProcess, b.graph, b.run, "sync=none", "", limit, "exists")
		if err != nil {
			return 0, err
		}
		c, err := mean(b.self, "exists", b.graph, b.run, limit)
		if err != nil {
			return 0, err
		}
		rust, cgo = append(rust, a), append(cgo, c)
		rounds = append(rounds, round{[]float64{a}, []float64{c}})
	}
	found := compared(rounds, more)
	used, err := watch.used()
	if err != nil {
		return 0, err
	}
	shown := found.against(moreForACall)
	if used > quiet {
		shown = undecided
	}
	fmt.Printf("exists, called again and again: rust %.3f us, go %.3f us, %+.3f us (95 %%: %+.3f..%+.3f), limit %+.0f us: %v, others used %.2f of a processor\n",
		spreadOf(rust).typical()*1e6, spreadOf(cgo).typical()*1e6, found.value*1e6, found.low*1e6, found.high*1e6, moreForACall*1e6, shown, used)
	return shown, nil
}

// mean is the mean time that a program prints, in seconds.
func mean(program string, args ...string) (float64, error) {
	output, err := exec.Command(program, args...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", program, err)
	}
	first, _, _ := strings.Cut(string(output), " ")
	return strconv.ParseFloat(first, 64)
}
