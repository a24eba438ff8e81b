"""Runs of the programs in turns."""

import os
import time

from programs import Floor, Go, Program


def in_turns(row, options, folder, sync):
    """Samples of what the row costs, by program; who is first turns every round."""
    programs = [Program("orlop", options.orlop, folder, sync),
                Go(options.reference, options.imagecopy, folder, sync)]
    if row.work.step_floor:
        programs.append(Floor(options.floor, folder, sync))
    samples = {program.name: [] for program in programs}
    try:
        steps = []
        for program in programs:
            floor = program.name == "floor"
            (row.work.prepare_floor if floor else row.work.prepare)(program)
            steps.append((program, row.work.step_floor if floor else row.work.step))
            if options.rounds > 1:
                steps[-1][1](program)  # warms the caches
        begin = time.monotonic()
        for number in range(options.rounds):
            if number >= 3 and time.monotonic() - begin > options.seconds:
                break
            for program, step in steps:
                if options.disk:
                    os.sync()  # nobody pays for what another one has written
                samples[program.name].append(step(program))
            steps.append(steps.pop(0))
    finally:
        for program in programs:
            program.close()
    return samples
