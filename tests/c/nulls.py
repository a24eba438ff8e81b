#!/usr/bin/env python3
"""Write the C source that gives NULL for each pointer argument of each function of orlop.h.

What must be there is given as NULL once, with everything else as it should be, and the call must end in
ORLOP_ERR_INVALID_ARGUMENT. A pointer that this program does not know what to do with is an error, so that a new
function cannot be forgotten.
"""

import re
import sys

# Texts that may be NULL, by function and argument.
OPTIONAL = {
    "orlop_has": {"feature"},
    "orlop_load": {"path"},
    "orlop_save": {"path"},
    "orlop_commit": {"name"},
    "orlop_set_image_data": {"digest"},
    "orlop_driver_update_id_maps": {"mount_label"},
    "orlop_docker_open": {"path"},
}
OPTIONAL_ANYWHERE = {"parent", "reference"}
HANDLES = {"orlop_store": "store", "orlop_driver": "driver", "orlop_config": "config", "orlop_progress": "progress",
           "orlop_files": "files", "orlop_docker": "docker"}
# Handles that a call takes over: never valid here.
CONSUMED = {"orlop_trash", "orlop_staged"}
# Handles that there are none of here.
ABSENT = {"orlop_additional_layer"}
# Places for buffers that somebody has to want.
WANTED = {"orlop_driver_begin_partial": {"target"}}
# Structs that must be there, and where one is.
STRUCTS = {"orlop_layer_upload": "&null_upload"}
FILLED = {"orlop_progress_state", "orlop_disk_usage"}
VALUES = {"orlop_strings", "orlop_id_maps"}


def functions(header):
    code = re.sub(r"/\*.*?\*/|//[^\n]*|#[^\n]*", "", header, flags=re.S)
    code = re.sub(r"\(\*\w+\)\([^)]*\)", "", code)
    for result, name, arguments in re.findall(r"([\w \*]+?)\b(orlop_\w+)\(([^)]*)\);", code):
        given = []
        for argument in re.sub(r"\s+", " ", arguments).split(","):
            if argument.strip() != "void":
                kind, what = re.fullmatch(r" ?(.*?)(\w+)", argument).groups()
                given.append((kind.strip().replace("struct ", ""), what))
        yield result.split()[0] if "*" not in result else "text", name, given


def valid(function, kind, what):
    """An expression for the argument, and whether NULL in its place is an error."""
    base = kind.replace("const ", "").rstrip("* ")
    if kind == "orlop_error **":
        return "&failure", False
    if kind.endswith("**"):
        return f"&({base} *){{NULL}}", True
    if kind == "const char *":
        optional = what in OPTIONAL_ANYWHERE or what in OPTIONAL.get(function, ())
        return ("NULL", False) if optional else ('"base"', True)
    if kind == "const uint8_t *":
        return "(const uint8_t *)\"x\"", True
    if kind.endswith("*"):
        if base in HANDLES:
            return HANDLES[base], True
        if base in CONSUMED | ABSENT:
            return "NULL", True
        if base in STRUCTS:
            return STRUCTS[base], True
        if what in WANTED.get(function, ()):
            return f"&({base}){{0}}", True
        if base in FILLED:
            return f"&({base}){{.size = sizeof({base})}}", True
        if base == "int32_t":
            return "&(int32_t){0}", True
        if base in ("orlop_buf", "orlop_partial", "uint64_t", "int64_t", "void") or base.endswith(
                ("_options", "_operation", "_request")) or base.startswith("orlop_new_"):
            # Nobody wants the answer, or no options; the other checks do that.
            return "NULL", False
        sys.exit(f"nulls.py: {function}: what is {kind} {what}?")
    if base in VALUES:
        return f"({base}){{0}}", False
    if what.endswith("fd"):
        return "null_fd", False
    if base in ("uint32_t", "int32_t"):
        return "0", False
    if base == "size_t":
        return "1", False
    if base == "orlop_log_fn":
        return "NULL", False
    sys.exit(f"nulls.py: {function}: what is {kind} {what}?")


def main():
    header = open(sys.argv[1]).read()
    calls = count = 0
    print('#define _GNU_SOURCE\n#include "check.h"\n#include "nulls.h"\n')
    print("void nulls_one_by_one(orlop_store *store, orlop_driver *driver, orlop_config *config,\n"
          "                      orlop_progress *progress, orlop_files *files, orlop_docker *docker, int32_t null_fd) {\n"
          "    (void)store, (void)driver, (void)config, (void)progress, (void)files, (void)docker, (void)null_fd;")
    for result, name, arguments in functions(header):
        count += 1
        if name.endswith("_free"):
            print(f"    {name}(NULL);")
            continue
        fallible = any(kind == "orlop_error **" for kind, _ in arguments)
        if not fallible:
            nulls = ", ".join("NULL" if "*" in kind else "1" for kind, _ in arguments)
            print(f"    (void){name}({nulls});")
            continue
        values = [valid(name, *argument) for argument in arguments]
        for at, (_, needed) in enumerate(values):
            if needed:
                given = ", ".join("NULL" if i == at else value for i, (value, _) in enumerate(values))
                print(f"    FAILS(ORLOP_ERR_INVALID_ARGUMENT, {name}({given}));")
                # The same without an error object.
                given = ", ".join("NULL" if i == at or value == "&failure" else value
                                  for i, (value, _) in enumerate(values))
                print(f"    CHECK({name}({given}) == ORLOP_ERR_INVALID_ARGUMENT);")
                calls += 1
    print("}")
    declared = len(set(re.findall(r"\b(orlop_\w+)\((?!\*)", re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.S))))
    if declared != count:
        sys.exit(f"nulls.py: {count} functions understood, {declared} declared")
    print(f"/* {calls} arguments of {count} functions */")


if __name__ == "__main__":
    main()
