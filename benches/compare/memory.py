"""How much memory the import of a layer takes that is much larger than what it may take."""

import os
import resource

import data
from programs import Program

LIMIT = 64  # MiB (docs/design.md, "How data flows")


def measure(options, report, folder, wanted):
    size = options.zeros << 20
    label = f"a file of {options.zeros:,} MiB of zeros"
    forms = [form for form in data.FORMS if wanted(f"memory, {form}")]
    if not forms:
        return
    data.require_space(folder, size + (64 << 20))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of an import of {label} (less than {own:.0f} MiB does not show)")
    plain = os.path.join(folder, "zeros.tar")
    data.write_zeros(plain, size)
    for form in forms:
        file = data.compress(plain, form, 1)
        program = Program("orlop", options.orlop, folder, "none")
        try:
            spent = program.run("import-layer", "-r", "-i", program.fresh_id(), "-f", file)
        finally:
            program.close()
            if file != plain:
                os.remove(file)
        report.fact(f"memory, {form}", f"{spent.wall:.1f} s, MiB:", "MiB", spent.peak / 1024, LIMIT)
    os.remove(plain)
