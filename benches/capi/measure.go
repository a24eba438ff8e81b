package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// cost is what a process has cost from before its start to after its end: seconds by the clock, and of processors.
type cost struct{ wall, cpu float64 }

func measured(program string, args ...string) (cost, error) {
	command := exec.Command(program, args...)
	begin := time.Now()
	output, err := command.CombinedOutput()
	wall := time.Since(begin)
	if err != nil {
		return cost{}, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, output)
	}
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	return cost{wall.Seconds(), cpu.Seconds()}, nil
}
