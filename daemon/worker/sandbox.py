"""Sandbox: the rights that the worker gives up before it sees the first image of a client.

Image formats are decoded by C libraries, and one of them may have a fault that a file can exploit. Code that takes over the
worker through such a fault finds a process with nothing in it but that image: it can open no file and no socket, start no
program, touch no other process, and use no more memory than the limits in parameters.xml require.

Limits of the system (setrlimit) ensure most of that everywhere: a process that may open no descriptor has no new file and
no network. seccomp does the rest where the kernel and libseccomp support it: calls that need no descriptor (renaming and
removing files, signals, ptrace), and calls that make one indirectly (io_uring). It lists the forbidden calls, not the
allowed ones: the calls of ONNX Runtime, CUDA and the C library within their own process change from version to version, and
none of them reaches beyond it.

Landlock is not used: it binds only the calling thread and later ones, and the engine's threads exist before the last model
is read.
"""

from __future__ import annotations

import ctypes.util
import errno
import os
import re
import resource
from pathlib import Path
from types import ModuleType
from typing import Any

from ...core.images.memory import most
from ...core.parameters import DaemonParameters, ImageLimits
from ..process import disable_core_dumps
from .decode_window import PICTURE_BYTES

BYTES_A_TILE_PIXEL = 2048
"""Bytes per pixel of a tile after zooming. A tile of 3.84 Mpx took 350 in ONNX Runtime and 1000 in dlib without a BLAS."""

SLACK = 2 << 30
"""Address space that is no memory: each thread's stack of 8 MiB, and the 64 MiB that the C library reserves for it."""

_FILES = """open openat openat2 creat open_by_handle_at name_to_handle_at truncate unlink unlinkat rename renameat
renameat2 link linkat symlink symlinkat mkdir mkdirat rmdir mknod mknodat chmod fchmodat fchmodat2 chown lchown fchownat
utime utimes utimensat futimesat setxattr lsetxattr removexattr lremovexattr chdir fchdir"""

_NETWORK = "socket socketpair connect bind listen accept accept4"

_PROCESSES = """execve execveat fork vfork tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_send_signal
pidfd_getfd ptrace process_vm_readv process_vm_writev process_madvise kcmp unshare setns setrlimit setpriority ioprio_set
sched_setscheduler sched_setparam sched_setattr migrate_pages move_pages shmget shmat shmctl msgget msgsnd msgrcv msgctl
semget semop semtimedop semctl mq_open mq_unlink"""

_KERNEL = """io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd keyctl add_key request_key
init_module finit_module delete_module kexec_load kexec_file_load reboot iopl ioperm mount umount2 pivot_root chroot
open_tree move_mount fsopen fspick mount_setattr swapon swapoff acct quotactl settimeofday clock_settime adjtimex
clock_adjtime sethostname setdomainname syslog personality fanotify_init"""

_CLONE_THREAD = 0x10000
"""From linux/sched.h: what clone() makes is a thread, not a process."""


def memory(limits: DaemonParameters, images: ImageLimits, *, tile_pixels: int) -> int:
    """Returns the most bytes that the images of a worker take, within the limits of parameters.xml."""
    # the engine's thread decodes the further pages of a file, whatever was decoded ahead
    pictures = PICTURE_BYTES + most(images)
    # one file may be in the buffer in which it was received, in the message, and changed for its decoder
    files = (limits.images_ahead + 1) * limits.max_frame_bytes
    return pictures + files + BYTES_A_TILE_PIXEL * tile_pixels + SLACK


def enter(memory: int, *, gpu: bool) -> str:
    """Confines this process and all its threads permanently. Returns the restrictions that are active, for the log.

    Models must have been loaded before, and modules imported. On a GPU, address space, descriptors and files stay free:
    CUDA maps more than the machine has, and opens devices and libraries when it needs them.

    Args:
        memory: bytes that it may allocate in addition to its present memory.
    """
    limits = ["no core dump", "no file written"]
    disable_core_dumps()
    _limit(resource.RLIMIT_FSIZE, 0)
    if not gpu:
        most = _address_space() + memory
        _limit(resource.RLIMIT_AS, most)
        limits.append(f"{most / 2**30:.1f} GiB of address space")
    rules: Any = None
    try:
        rules = _rules(_pyseccomp(), files=not gpu)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:  # RuntimeError: no library
        filtered = f"seccomp is off: {error}"
    if not gpu:
        _limit(resource.RLIMIT_NOFILE, 0)  # not sooner: loading libseccomp opens files
        limits.append("no new descriptor")
    if rules is not None:
        try:
            rules.load()
            filtered = f"seccomp: no {'' if gpu else 'file, '}network, program or other process"
        except OSError as error:
            filtered = f"seccomp is off: {error.strerror}"
    return f"confined: {', '.join(limits)}; {filtered}"


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _address_space() -> int:
    """Returns the bytes of address space that this process has now (VmSize in proc(5))."""
    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _pyseccomp() -> ModuleType:
    """Imports pyseccomp without starting a program.

    It asks ctypes where its two libraries are, which runs ldconfig, and a compiler and a linker where that finds nothing.
    The dynamic linker needs only their names.

    Raises:
        ImportError: pyseccomp is missing.
        OSError: libseccomp is missing.
    """
    find_library = ctypes.util.find_library
    # no name for "c": that stands for this process, which has the C library
    ctypes.util.find_library = lambda name: "libseccomp.so.2" if name == "seccomp" else None
    try:
        import pyseccomp
    finally:
        ctypes.util.find_library = find_library
    module: ModuleType = pyseccomp
    return module


def _rules(seccomp: ModuleType, *, files: bool) -> Any:
    """Returns the filter, which `load()` puts into every thread; that raises OSError where the kernel does not."""
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    forbidden = seccomp.ERRNO(errno.EPERM)

    def forbid(name: str, *conditions: object, answer: int = forbidden) -> None:
        number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
        if number != -1:  # a call younger than this libseccomp; one that this processor has not is below that
            rules.add_rule(answer, number, *conditions)

    for name in " ".join([_FILES if files else "", _NETWORK, _PROCESSES, _KERNEL]).split():
        forbid(name)
    # threads yes, processes no; clone3 has its flags in memory, where no filter sees them, and libc then takes clone
    forbid("clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    forbid("clone3", answer=seccomp.ERRNO(errno.ENOSYS))
    # a thread may set its own affinity; abort() signals its own process; pthread_getattr_np() reads a limit
    forbid("sched_setaffinity", seccomp.Arg(0, seccomp.NE, 0))
    for name in ("kill", "tgkill"):
        forbid(name, seccomp.Arg(0, seccomp.NE, os.getpid()))
    forbid("prlimit64", seccomp.Arg(2, seccomp.NE, 0))
    return rules
