// Command bench-capi measures what the way from Go through the C ABI costs, for "make bench-capi".
//
//	bench-capi [-rounds N] [-seconds N] ORLOP IN-PROCESS
//
// ORLOP is the command, IN-PROCESS the program of benches/in_process.rs. What it prints, one row each, must hold:
//
//   - orlop_exists through cgo costs at most 2 microseconds more than the same call in Rust;
//   - import and export by a Go program take at most 1.05 of the command's time. Each is a process of its own, as the command is. They
//     take turns, and the medians are compared. The rows by a pipe, which a reader without a descriptor needs, have no limit.
//
// It calls itself with the words of work as first argument. Needs root.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) > 1 && jobs[os.Args[1]] != nil {
		if err := jobs[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench-capi %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	rounds := flag.Int("rounds", 15, "how often each import and export is done")
	seconds := flag.Float64("seconds", 2, "how long calls are repeated, in each of five rounds")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: bench-capi [-rounds N] [-seconds N] ORLOP IN-PROCESS")
		os.Exit(2)
	}
	kept, err := compare(flag.Arg(0), flag.Arg(1), *rounds, *seconds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-capi:", err)
		os.Exit(1)
	}
	if !kept {
		os.Exit(1)
	}
}
