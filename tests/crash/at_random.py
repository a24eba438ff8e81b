"""Processes with all their threads, killed at random times."""

import random
import subprocess
import time
import traceback

import imagefile
from harness import Failed, check
from scenes import EPOCH, IMAGE, BOX, THIRD, GONE, THERE, Scene, Stage
from trials import Sweep

SCENES = (
    Scene("load, killed at random", ["load", "-q", "-i", "{archive}"], start="other"),
    Scene("commit, killed at random", ["commit", "-q", BOX, THIRD], start="container"),
    Scene("import-layer, killed at random", ["import-layer", "-i", "new", "-r", "-f", "{tar}", "{base}"], done=THERE),
    Scene("delete-image, killed at random", ["delete-image", IMAGE], done=GONE,
          stays="the layers of a deleted image stay, as in Go (store-format.md 10.2)"),
    Scene("delete-container, killed at random", ["delete-container", BOX], start="container", done=GONE),
)


def layers():
    """Eight layers of some hundred files each, small and large."""
    made = []
    for number in range(8):
        layer = imagefile.Layer()
        for folder in range(6):
            layer.dir(f"d{folder}")
            for name in range(40):
                layer.add(f"d{folder}/{number}-{name}", data=imagefile.noise(f"{number}/{name}", 300 + 400 * name))
        if number:
            layer.whiteout(f"d0/{number - 1}-0")
        layer.add(f"large-{number}", data=imagefile.noise(str(number), 2_000_000))
        made.append(layer.bytes())
    return made


class Random:
    """Kills each of the scenes' commands in turn, at a time between its beginning and its end."""

    def __init__(self, options, tell):
        options.processor = 0
        self.options, self.tell = options, tell
        self.stage = Stage(options, layers())
        self.dice = random.Random(options.seed)

    def work(self):
        prepared = [Sweep(self.stage, scene) for scene in SCENES]
        lasts = [self.last(sweep) for sweep in prepared]
        for number in range(self.options.random):
            # Each command once, however short the time.
            if number >= len(prepared) and time.monotonic() > self.options.deadline:
                break
            sweep, last = prepared[number % len(prepared)], lasts[number % len(prepared)]
            try:
                outcome, why = self.kill(sweep, self.dice.uniform(0, last * 1.1)), ""
            except Failed as failure:
                outcome, why = "WRONG", str(failure)
            except Exception:  # one broken trial must not stop the others
                outcome, why = "WRONG", traceback.format_exc()
            self.tell("random", sweep.scene.name, ("KILL", outcome, why))
        for sweep in prepared:
            self.tell("notes", sweep.scene.name, sweep.notes)
        self.stage.close()

    def start(self, sweep):
        store, words = self.stage.start(sweep.scene)
        area = self.stage.area
        return store, words, subprocess.Popen(
            [area.options.orlop, "-g", store.graph, "-R", store.run_root, "-s", store.driver, *store.options, *words],
            env={**area.environment, **EPOCH}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def last(self, sweep):
        """How long the command takes, in seconds."""
        _, _, process = self.start(sweep)
        begin = time.monotonic()
        check(process.wait() == 0, f"{sweep.scene.name} fails when nobody kills it")
        return time.monotonic() - begin

    def kill(self, sweep, delay):
        store, words, process = self.start(sweep)
        time.sleep(delay)
        process.kill()
        code = process.wait()
        outcome = sweep.recovered(store, words, others=True)
        return f"{outcome}, at its end" if code == 0 else outcome
