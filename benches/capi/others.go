package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// quiet is how much of one processor others may use while two programs are compared. With more, who of the two meets them is chance.
const quiet = 0.15

// others tells what the other processes of the machine use from its making on.
type others struct {
	begin     time.Time
	all, ours float64
}

func watchOthers() (o others, err error) {
	o.begin = time.Now()
	if o.all, err = processorTime(); err != nil {
		return o, err
	}
	o.ours, err = ownTime()
	return o, err
}

// used is that, in processors.
func (o others) used() (float64, error) {
	all, err := processorTime()
	if err != nil {
		return 0, err
	}
	ours, err := ownTime()
	if err != nil {
		return 0, err
	}
	return max(0, (all-o.all)-(ours-o.ours)) / time.Since(o.begin).Seconds(), nil
}

// ownTime is what this process and its children that have ended have used, in seconds.
func ownTime() (sum float64, err error) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return 0, os.NewSyscallError("getrusage", err)
		}
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	return sum, nil
}

// processorTime is what all processors have worked since the machine has started, also for other machines beside it, in seconds.
func processorTime() (float64, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	return busy(string(line))
}

// busy reads the first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq and steal, in hundredths.
func busy(line string) (float64, error) {
	var name string
	var user, nice, system, idle, iowait, irq, softirq, steal uint64
	if _, err := fmt.Sscan(line, &name, &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil || name != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %s", strconv.Quote(line))
	}
	return float64(user+nice+system+irq+softirq+steal) / 100, nil
}
