package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ratio is what import and export by a descriptor may take, of the command's time.
const ratio = 1.05

// ways are how an operation is done, first the one that the others are compared with. The second one is what the limit is for.
var ways = []string{"command", "descriptor", "pipe"}

// fewest rounds, after which a row that is good enough is done.
const fewest = 9

// operation does it in one of the ways and undoes what is not to be measured.
type operation func(way int) (cost, error)

// starts tells what each process takes before and after its work, which is in all the figures of streams.
func (b *bench) starts() (verdict, error) {
	times, err := b.alternate(func(way int) (cost, error) {
		if way == 0 {
			return b.command("exists", "layer-7")
		}
		return b.job("exists", "0")
	}, func(_ table, rounds int) bool { return rounds < 2*fewest })
	if err != nil {
		return 0, err
	}
	fmt.Printf("\na process that only opens the store: command %s, go %s\n", times.walls(0).milliseconds(), times.walls(1).milliseconds())
	return kept, nil
}

// streams compares import and export.
func (b *bench) streams() (worst verdict, err error) {
	for _, input := range []struct {
		name        string
		files, size int
	}{{"10,000 files of 4 KiB", 10_000, 4 << 10}, {"16 files of 16 MiB", 16, 16 << 20}} {
		path := filepath.Join(b.dir, "in.tar")
		if err := writeTar(path, input.files, input.size); err != nil {
			return 0, err
		}
		imported, err := b.stream("import "+input.name, b.importing(path))
		if err != nil {
			return 0, err
		}
		if _, err := b.command("import-layer", "-r", "-i", "it", "-f", path); err != nil {
			return 0, err
		}
		exported, err := b.stream("export "+input.name, b.exporting(path))
		if err != nil {
			return 0, err
		}
		if _, err := b.command("delete-layer", "it"); err != nil {
			return 0, err
		}
		worst = max(worst, imported, exported)
	}
	return worst, nil
}

// importing makes a layer and deletes it.
func (b *bench) importing(path string) operation {
	return func(way int) (spent cost, err error) {
		if way == 0 {
			spent, err = b.command("import-layer", "-r", "-i", "it", "-f", path)
		} else {
			spent, err = b.job("import", "it", path, ways[way])
		}
		if err != nil {
			return cost{}, err
		}
		_, err = b.command("delete-layer", "it")
		return spent, err
	}
}

// exporting writes the one layer to a file that was not there, and deletes that once it has turned out to be what came in.
func (b *bench) exporting(path string) operation {
	out := filepath.Join(b.dir, "out.tar")
	return func(way int) (spent cost, err error) {
		if way == 0 {
			spent, err = b.command("diff", "-u", "-f", out, "it")
		} else {
			spent, err = b.job("export", "it", out, ways[way])
		}
		if err != nil {
			return cost{}, err
		}
		if _, err := measured("cmp", path, out); err != nil {
			return cost{}, err
		}
		return spent, os.Remove(out)
	}
}

// stream does an operation until the limit is seen to be kept or the time is over, and prints its rows.
func (b *bench) stream(name string, do operation) (verdict, error) {
	watch, err := watchOthers()
	if err != nil {
		return 0, err
	}
	times, err := b.alternate(do, func(times table, rounds int) bool {
		return rounds < fewest || rounds < b.rounds && time.Since(watch.begin) < b.each && times.over(1, clock).against(ratio) != kept
	})
	if err != nil {
		return 0, err
	}
	used, err := watch.used()
	if err != nil {
		return 0, err
	}
	shown := times.over(1, clock).against(ratio)
	if used > quiet {
		shown = undecided
	}
	fmt.Printf("\n%s, %d rounds, others used %.2f of a processor\n", name, len(times[0]), used)
	for way, by := range ways {
		if way > 0 {
			by = "go by " + by
		}
		fmt.Printf("  %-16s %-38s cpu %7.1f ms", by, times.walls(way).milliseconds(), spreadOf(times.of(way, processors)).typical()*1e3)
		if way > 0 {
			wall, cpu := times.over(way, clock), times.over(way, processors)
			fmt.Printf("   %.3f of the command (%.3f..%.3f), cpu %.3f (%.3f..%.3f)", wall.value, wall.low, wall.high, cpu.value, cpu.low, cpu.high)
		}
		if way == 1 {
			fmt.Printf("   limit %.2f: %v", ratio, shown)
		}
		fmt.Println()
	}
	return shown, nil
}

// table has for each way the two costs of each round.
type table [][][2]cost

// alternate does rounds of an operation in all ways, there and back, so that what grows or fades meanwhile meets all alike. The
// first round warms what can be warm, and does not count.
func (b *bench) alternate(do operation, again func(times table, rounds int) bool) (table, error) {
	times := make(table, len(ways))
	for round := 0; round < 2 || again(times, round-1); round++ {
		var both [3][2]cost
		for turn := range 2 * len(ways) {
			way, second := turn, 0
			if turn >= len(ways) {
				way, second = 2*len(ways)-1-turn, 1
			}
			// Who begins changes, too.
			way = (way + round) % len(ways)
			spent, err := do(way)
			if err != nil {
				return nil, err
			}
			both[way][second] = spent
		}
		if round == 0 {
			continue
		}
		for way := range ways {
			times[way] = append(times[way], both[way])
		}
	}
	return times, nil
}

// walls are the times of a way by the clock.
func (t table) walls(way int) spread { return spreadOf(t.of(way, clock)) }

func clock(c cost) float64 { return c.wall }

func processors(c cost) float64 { return c.cpu }

func (t table) of(way int, value func(cost) float64) (values []float64) {
	for _, both := range t[way] {
		values = append(values, value(both[0]), value(both[1]))
	}
	return values
}

// over is how much of the command's a way takes.
func (t table) over(way int, value func(cost) float64) estimate {
	rounds := make([]round, len(t[way]))
	for i, both := range t[way] {
		base := t[0][i]
		rounds[i] = round{
			[]float64{value(base[0]), value(base[1])},
			[]float64{value(both[0]), value(both[1])},
		}
	}
	return compared(rounds, over)
}
