// Command bench-capi measures what the way from Go through the C ABI costs, for "make bench-capi". What its figures mean,
// README.md beside it tells.
//
//	bench-capi [-rounds N] [-each DURATION] [-seconds N] [-dir DIR] [-strict] ORLOP IN-PROCESS
//
// ORLOP is the command, IN-PROCESS the program of benches/in-process/main.rs. It fails when a limit is shown to be broken, with -strict
// also when the machine is too noisy to tell. It calls itself with the words of work as first argument. Needs root.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) > 1 && jobs[os.Args[1]] != nil {
		if err := jobs[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench-capi %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	var b bench
	flag.IntVar(&b.rounds, "rounds", 40, "how many rounds of an import or export there are at most")
	flag.DurationVar(&b.each, "each", 20*time.Second, "how long those rounds may take at most")
	flag.Float64Var(&b.seconds, "seconds", 2, "how long short calls are repeated, in each of five parts of the measurement")
	dir := flag.String("dir", "/dev/shm", "where the store and the archives are, which should be memory: 1.5 GiB")
	strict := flag.Bool("strict", false, "fail also when noise leaves a row undecided")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: bench-capi [-rounds N] [-each DURATION] [-seconds N] [-dir DIR] [-strict] ORLOP IN-PROCESS")
		os.Exit(2)
	}
	b.orlop, b.inProcess = flag.Arg(0), flag.Arg(1)
	worst, err := b.compare(*dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-capi:", err)
		os.Exit(1)
	}
	if worst == undecided {
		fmt.Println("The machine is too noisy to tell: run this again when it is quiet, or with a longer -each.")
	}
	if worst == broken || *strict && worst == undecided {
		os.Exit(1)
	}
}
