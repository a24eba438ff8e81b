"""System calls: which of them change anything, and where strace must strike to hit each.

Nothing is swept by a list of calls: a traced run tells which calls a command makes, and each
must be known here either as one that changes something or as one that does not. A call that
is neither stops the sweep, so that new code cannot escape it.
"""

import collections
import re

# What changes names, content, attributes or mounts, or makes them durable.
CHANGING = frozenset("""
    rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir mkdir mkdirat
    mknod mknodat creat write pwrite64 writev pwritev pwritev2 truncate ftruncate fallocate
    copy_file_range sendfile splice fsync fdatasync syncfs sync sync_file_range msync
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utimensat utimes futimesat
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr
    mount umount umount2 fsmount move_mount open_tree mount_setattr fspick pivot_root
    """.split())
# Changing only with O_CREAT or O_TRUNC, with FICLONE, or when the superblock is made.
SOMETIMES = {"open": "O_CREAT|O_TRUNC", "openat": "O_CREAT|O_TRUNC", "openat2": "O_CREAT|O_TRUNC",
             "ioctl": "FICLONE|FS_IOC_SETFLAGS|FS_IOC_FSSETXATTR", "fsconfig": "FSCONFIG_CMD_",
             "quotactl": "Q_XSETQLIM", "quotactl_fd": "Q_XSETQLIM"}
# Without a name in older versions of strace: getxattrat and listxattrat.
UNNAMED = frozenset(("syscall_0x1d0", "syscall_0x1d1"))
# What another machine learns or tells, with the errors that a network answers; EAGAIN is the end of a time limit.
NETWORK = {"connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EINTR"),
           "sendto": ("ECONNRESET", "EPIPE", "EAGAIN", "EINTR"),
           "recvfrom": ("ECONNRESET", "ETIMEDOUT", "EAGAIN", "EINTR")}
HARMLESS = UNNAMED | frozenset("""
    read pread64 readv preadv lseek close close_range stat fstat lstat newfstatat statx statfs
    fstatfs access faccessat faccessat2 readlink readlinkat getdents64 getxattr lgetxattr
    fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat fcntl flock dup dup2 dup3 pipe2 poll ppoll
    epoll_create1 epoll_ctl epoll_wait eventfd2 mmap munmap mremap mprotect madvise brk futex
    clone clone3 execve exit exit_group wait4 waitid vfork unshare prctl arch_prctl rseq
    set_tid_address set_robust_list sched_getaffinity sched_yield gettid getpid getppid getuid
    geteuid getgid getegid capget getrandom uname sysinfo prlimit64 getrlimit getcwd chdir fchdir
    umask rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall clock_gettime
    clock_nanosleep nanosleep fsopen fadvise64 readahead tgkill kill getpriority setpriority pidfd_send_signal memfd_create membarrier
    socket bind getsockname getpeername getsockopt setsockopt
    """.split())
# What waits or takes long, and so may be interrupted though it changes nothing.
INTERRUPTIBLE = frozenset("read pread64 readv fcntl flock open openat openat2".split())

# A call that the sweep can strike: `when` is what strace counts, per thread.
Point = collections.namedtuple("Point", "call when place")
_ENTRY = re.compile(r"^(\d+) +([a-z0-9_]+)\((.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. ([a-z0-9_]+) resumed>(.*)$")
_FAILED = re.compile(r"\) += -1 E")


class Unknown(Exception):
    """A call that is not known to change something or nothing."""


def changes(call, arguments):
    if call in CHANGING or call in NETWORK:
        return True
    if call in SOMETIMES:
        return re.search(SOMETIMES[call], arguments) is not None
    if call in HARMLESS:
        return False
    raise Unknown(f"tests/crash/calls.py does not say whether {call}({arguments[:80]}) changes anything")


def struck(lines, call, area):
    """The places of the calls that an injected fault struck: marked as such, or the last one before the end."""
    last, marked, of_thread = "", [], {}
    for line in lines:
        # A call that another thread's comes between has two lines, of which the second one is marked.
        entry, resumed = _ENTRY.match(line), _RESUMED.match(line)
        if entry and entry[2] == call:
            last = of_thread[entry[1]] = place(call, entry[3], area)
        elif not resumed or resumed[2] != call:
            continue
        if "(INJECTED)" in line:
            marked.append(of_thread[(entry or resumed)[1]])
    return marked or [last]


class Trace:
    """What `strace -f -y` wrote of a run that came to its end."""

    def __init__(self, lines, area):
        self.area = area
        events, open_calls = [], {}  # [thread, call, arguments, failed]
        for line in lines:
            entry, resumed = _ENTRY.match(line), _RESUMED.match(line)
            if entry:
                thread, call, rest = entry.groups()
                events.append([thread, call, rest, bool(_FAILED.search(rest))])
                open_calls[thread] = events[-1]
            elif resumed:
                event = open_calls.get(resumed[1])
                if event and event[1] == resumed[2]:
                    event[2] += resumed[3]
                    event[3] = bool(_FAILED.search(resumed[3]))
        self.changing, self.waiting, self.hidden = self._points(events)
        self.lasting = _lasting(self.changing)

    def _points(self, events):
        """(points that change something, one for each place where one waits, changing calls out of reach).

        Strace strikes in whichever thread comes first to its own `when`-th use of the call. So a
        use is out of reach if another thread has made as many uses before.
        """
        counts, taken = collections.Counter(), set()
        changing, waiting, hidden = [], {}, []
        for thread, call, arguments, failed in events:
            counts[thread, call] += 1
            point = Point(call, counts[thread, call], self.place(call, arguments))
            first = point[:2] not in taken
            taken.add(point[:2])
            # A call that fails in a run without faults changes nothing: mkdir of what is there. One of the network is not done yet.
            if changes(call, arguments) and (not failed or call in NETWORK):
                (changing if first else hidden).append(point)
            elif call in INTERRUPTIBLE and first and self.area in arguments:
                waiting.setdefault((call, point.place), point)
        return changing, list(waiting.values()), hidden

    def place(self, call, arguments):
        return place(call, arguments, self.area)


def _lasting(points):
    """Where a network may be gone for good and the command soon gives up: whatever is sent for the first time, and the answer to it."""
    found, sent, awaited = [], set(), False
    for point in points:
        if point.call == "recvfrom":
            first, awaited = awaited, False
        elif point.call in NETWORK:
            first = awaited = point.place not in sent
            sent.add(point.place)
        else:
            continue
        found += [point] if first else []
    return found


_PATHS = re.compile(r'(\d+|AT_FDCWD)<([^>]*)>(?:, "((?:[^"\\]|\\.)*)")?|"(/(?:[^"\\]|\\.)*)"')


def place(call, arguments, area):
    """Where a call strikes, with what differs from run to run left out: the paths it names."""
    found = []
    data = re.search("read|write|recv", call)
    for number, path, name, whole in _PATHS.findall(arguments.partition(") ")[0]):
        if data and not number:
            continue
        if "write" in call and number.isdigit() and not path.startswith((area, "/proc/")):
            # What is printed, on a duplicate of the descriptor perhaps.
            path = "standard error" if number == "2" else "standard output"
        elif not data and (name.startswith("/") or whole):
            path = whole or name
        elif name and not data:
            path += "/" + name
        if path.startswith(area):
            path = path[len(area):]
        found += [path] if path not in found else []
    text = " -> ".join(found[:2])
    text = re.sub(r"([/-])[0-9a-f]{64}", r"\1ID", text)
    text = re.sub(r"/proc/[0-9]+/", "/proc/PID/", text)
    text = re.sub(r"socket:\[[0-9]+\]", "socket", text)
    text = re.sub(r"\b[A-Z0-9]{26}\b", "LINK", text)
    # An unnamed file, or one that is deleted, has its inode's number for a name.
    text = re.sub(r"#[0-9a-f]+", "#N", text)
    return re.sub(r"\d{5,}", "N", text)
