# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The machine that is measured: what it is, and how a process gets a quiet part of it."""

import ctypes
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import struct
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", ROOT / "build"))

# Those that decide which integer and float instructions a library takes.
FEATURES = ("avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
            "amx_tile", "amx_int8", "amx_bf16")
PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino", "nncf", "ctranslate2")


def read_cpu():
    """Name and features of the processor."""
    name, flags = platform.machine(), []
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() == "flags":
            flags = value.split()
    return name, [feature for feature in FEATURES if feature in flags]


def count_cores():
    return len(os.sched_getaffinity(0))


def find_version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_revision():
    """The commit of the sources, with a + if they differ from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def describe():
    cpu, features = read_cpu()
    return {
        "cpu": cpu,
        "features": features,
        "cores": count_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "qtx": find_revision(),
        "packages": {package: find_version(package) for package in PACKAGES},
    }


def can_run(features):
    """Whether the processor has all features that LLVM calls so."""
    flags = {flag.replace("_", "") for flag in read_cpu()[1]}
    return all(name.replace("-", "").replace("_", "") in flags for name in features.split())


# The instruction sets that whole models are timed with, and what each needs.
ISAS = {"avx2": "avx2 fma", "avx-vnni": "avx2 fma avxvnni", "avx512": "avx512f avx512bw avx512vnni",
        "amx": "amx_tile amx_int8"}
# Those of smaller machines: fewer threads, lengths and scores.
SMALL_ISAS = ("avx2", "avx-vnni")
# Instructions that have a peak, less those that a narrower set leaves out.
NARROWED = {"avx2": ("avx512f", "avx512vnni", "avxvnni", "amx-int8"),
            "avx-vnni": ("avx512f", "avx512vnni", "amx-int8"), "avx512": ("amx-int8",), "amx": ()}


def list_isas():
    """Those of this machine, the best last."""
    return [isa for isa, features in ISAS.items() if can_run(features)]


def has_amx():
    return "amx" in list_isas()


class Turns:
    """`with turns:` around what is timed.

    With a lock file, processes that measure take turns, and this one runs at real-time
    priority meanwhile: for machines that do other work as well. Without one it does nothing.
    """

    PRIORITY = 20

    def __init__(self, path=None):
        self.path = path
        self.file = None

    def __enter__(self):
        if self.path:
            self.file = open(self.path, "w")
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self._schedule(os.SCHED_FIFO, self.PRIORITY)

    def __exit__(self, *_):
        if self.file:
            self._schedule(os.SCHED_OTHER, 0)
            self.file.close()
            self.file = None

    @staticmethod
    def _schedule(policy, priority):
        # Libraries have threads of their own.
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
            except ProcessLookupError:
                pass


def pin(threads):
    """Puts this process, and threads that it starts later, on as many cores."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        raise RuntimeError(f"expected {threads} cores, found {len(cores)}")
    os.sched_setaffinity(0, cores[:threads])


# ---- AMX ---------------------------------------------------------------------

def _instruction(code, if_true, if_false, value):
    return struct.pack("HBBI", code, if_true, if_false, value)


def refuse_amx():
    """Has the kernel refuse AMX to this process, as it does where it is switched off.

    Libraries that use AMX have to ask for it, so this holds for all of them alike.
    """
    load, equal, give = 0x20, 0x15, 0x06
    architecture, arch_prctl, request = 0xC000003E, 158, 0x1023
    not_permitted, allow = 0x00050001, 0x7FFF0000
    program = b"".join([
        _instruction(load, 0, 0, 4), _instruction(equal, 0, 5, architecture),
        _instruction(load, 0, 0, 0), _instruction(equal, 0, 3, arch_prctl),
        _instruction(load, 0, 0, 16), _instruction(equal, 0, 1, request),
        _instruction(give, 0, 0, not_permitted), _instruction(give, 0, 0, allow),
    ])
    code = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, set_filter = 38, 317, 1
    # All threads; without the mitigations that slow filtered processes down.
    flags = 1 | 4
    description = Filter(len(program) // 8, ctypes.addressof(code))
    if (libc.prctl(no_new_privileges, 1, 0, 0, 0) or
            libc.syscall(seccomp, set_filter, flags, ctypes.byref(description))):
        raise OSError(ctypes.get_errno(), "cannot install a filter of system calls")


# ---- peaks -------------------------------------------------------------------

def _run_json(arguments, turns):
    """What qtx-bench writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "result.json"
        with turns:
            subprocess.run([BUILD / "bin/qtx-bench", *arguments, f"--json={path}"], check=True,
                           stdout=subprocess.DEVNULL)
        return json.loads(path.read_text())


def measure_peaks(turns):
    """What a core can do at most, from register loops that qtx-bench makes."""
    return _run_json(["--peaks"], turns)


def run_qtx_bench(path, inputs, threads, turns):
    """qtx-bench's own times of a compiled model."""
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / "inputs.npz"
        np.savez(archive, **inputs)
        return _run_json([path, f"--inputs={archive}", f"--threads={threads}"], turns)


def describe_peaks(peaks):
    rates = ", ".join(f"{isa} {gops:.0f} GOPS" for isa, gops in
                      sorted(peaks["peak_gops"].items(), key=lambda item: -item[1]))
    return f"peaks of one core: {rates}, memory {peaks['memory_gb_per_s']:.1f} GB/s"
