"""The table: medians, ratios, the targets beside them, and which of those are missed."""

import resource
import statistics
from dataclasses import dataclass

from programs import Spent


@dataclass
class Row:
    """A line of the table: what is done, and how much of Go's wall clock and processor time, and how many times the
    floor's wall clock, it may take."""

    label: str
    work: object
    wall: float | None = None
    cpu: float | None = None
    floor: float | None = None


def seconds(value):
    for unit, factor, places in (("s ", 1, 2), ("ms", 1e3, 1)):
        if value * factor >= 1:
            return f"{value * factor:.{places}f} {unit}"
    return f"{value * 1e6:.0f} µs"


def mebibytes(peak):
    # What a program is said to have used is never less than what its parent had (getrusage(2): it survives execve).
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{'< ' if peak <= own else ''}{peak / 1024:.0f} MiB"


def median(samples):
    return Spent(*(statistics.median(column) for column in zip(*samples)))


class Report:
    """Prints line by line, and keeps what was missed."""

    def __init__(self):
        self.missed = []
        self.title = None

    def heading(self, title):
        """Of the rows that follow, if there are any."""
        self.title = title

    def _print_heading(self):
        print(f"\n{self.title}\n{'':42}{'wall':>10}{'Go':>10}{'ratio':>7}{'':8}{'CPU':>10}{'Go':>10}{'ratio':>7}{'':8}"
              f"{'floor':>10}{'times':>7}{'':8}{'CPU':>5}{'peak':>10}{'Go':>9}", flush=True)
        self.title = None

    def judged(self, label, what, ratio, most):
        """The ratio, what it may be, and a mark where it is more."""
        if most is None:
            return f"{ratio:7.2f}{'':8}"
        if ratio <= most:
            return f"{ratio:7.2f} ≤ {most:4.2f} "
        self.missed.append(f"{label}: {what} {ratio:.2f} > {most:.2f}")
        return f"{ratio:7.2f} > {most:4.2f}!"

    def row(self, row, samples):
        if self.title:
            self._print_heading()
        ours, theirs = median(samples["orlop"]), median(samples["go"])
        line = f"{row.label:42}"
        for what in ("wall", "cpu"):
            mine, other = getattr(ours, what), getattr(theirs, what)
            line += f"{seconds(mine):>10}{seconds(other):>10}"
            line += self.judged(row.label, what, mine / max(other, 1e-9), getattr(row, what))
        floor = samples.get("floor")
        if floor:
            least = median(floor)
            line += f"{seconds(least.wall):>10}" + self.judged(row.label, "times floor", ours.wall / least.wall, row.floor)
            line += f"{ours.cpu / max(least.cpu, 1e-9):5.2f}"
        else:
            line += f"{'':30}"
        print(f"{line}{mebibytes(ours.peak):>10}{mebibytes(theirs.peak):>9}", flush=True)

    def fact(self, label, text, what, value, most):
        """A line of its own, outside of the table."""
        print(f"{label:42} {text} {self.judged(label, what, value, most).strip()}", flush=True)
