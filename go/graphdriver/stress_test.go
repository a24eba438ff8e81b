package graphdriver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	drivers "go.podman.io/storage/drivers"
	"golang.org/x/sys/unix"
)

// stressTime is how long to try: ORLOP_STRESS_SECONDS, or a few.
func stressTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("ORLOP_STRESS_SECONDS")
	if text == "" {
		return 5 * time.Second
	}
	seconds, err := strconv.Atoi(text)
	must(t, err)
	return time.Duration(seconds) * time.Second
}

// locked is a driver under a lock, as a store uses it: what changes layers has it alone.
type locked struct {
	drivers.Driver
	lock sync.Mutex
}

// life is one round of a layer's life, with other calls in between.
func (l *locked) life(id string, content []byte) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	return cycle(l.Driver, id, content)
}

// until runs work in a goroutine, again and again until the end.
func until(group *sync.WaitGroup, end <-chan struct{}, work func(round int) error, fail func(error)) {
	group.Add(1)
	go func() {
		defer group.Done()
		for round := 0; ; round++ {
			select {
			case <-end:
				return
			default:
			}
			if err := work(round); err != nil {
				fail(err)
				return
			}
		}
	}()
}

// The driver beside a runtime that is busy: goroutines, the garbage collector, signals to every thread, and programs that are started.
func TestBesideABusyRuntime(t *testing.T) {
	needRoot(t)
	signals := make(chan os.Signal, 1<<16)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)

	content := tarOf(t, map[string]string{"a": "hello", "b": string(make([]byte, 100_000))})
	var all []*locked
	for i := 0; i < 3; i++ {
		l := &locked{Driver: newRoots(t).open(t)}
		newBase(t, l)
		all = append(all, l)
	}

	run := func(long time.Duration, programs bool) (cycles, started int64) {
		var group sync.WaitGroup
		var done, begun atomic.Int64
		end := make(chan struct{})
		fail := func(err error) { t.Error(err) }
		for i, l := range all {
			for j := 0; j < 2; j++ {
				until(&group, end, func(round int) error {
					done.Add(1)
					return l.life(fmt.Sprintf("layer-%d-%d-%d", i, j, round), content)
				}, fail)
			}
			until(&group, end, func(int) error {
				if !l.Exists("base") {
					return errors.New("the base has gone")
				}
				_, err := l.Metadata("base")
				return err
			}, fail)
		}
		until(&group, end, func(int) error {
			runtime.GC()
			return nil
		}, fail)
		until(&group, end, func(int) error {
			signalThreads()
			time.Sleep(time.Millisecond)
			return nil
		}, fail)
		if programs {
			until(&group, end, func(round int) error {
				begun.Add(1)
				out, err := exec.Command("/bin/echo", strconv.Itoa(round)).Output()
				if err == nil && string(out) != strconv.Itoa(round)+"\n" {
					err = fmt.Errorf("echo said %q", out)
				}
				return err
			}, fail)
		}
		time.Sleep(long)
		close(end)
		group.Wait()
		return done.Load(), begun.Load()
	}

	long := stressTime(t)
	cycles, _ := run(long/2, false)
	if n := len(signals); n > 0 {
		t.Errorf("%d times SIGCHLD without a child of ours", n)
	}
	more, started := run(long/2, true)
	if n := int64(len(signals)); n > started {
		t.Errorf("%d times SIGCHLD of %d children", n, started)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("there is a child left: %d, %v", pid, err)
	}
	t.Logf("%d lives of a layer, %d programs in %v", cycles+more, started, long)
	if cycles == 0 || more == 0 {
		t.Error("nothing was done")
	}
}

// signalThreads sends SIGURG, by which the runtime preempts, to every thread, also to those that are in the library.
func signalThreads() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, thread := range threads {
		if id, err := strconv.Atoi(thread.Name()); err == nil {
			// It may have ended.
			_ = unix.Tgkill(os.Getpid(), id, unix.SIGURG)
		}
	}
}
