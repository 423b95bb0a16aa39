"""Runs the fuzzers: each target in a process of its own, which a parent watches for crashes and for hanging.

    PYTHONPATH=tests python -m fuzz --minutes 5            all targets, five minutes each
    PYTHONPATH=tests python -m fuzz --inputs 100000 --target files --seed 3
    PYTHONPATH=tests python -m fuzz --target files --seed 3 --index 712      one input, with its traceback

Input i of a target follows from the seed and i alone. The exit status is 1 where there was a finding.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback

from .targets import TARGETS, Finding, run_one

HANGS = 60.0  # seconds that one input may take
COMMAND = [sys.executable, "-m", "fuzz"]
ROOM = 3 << 30  # bytes that a process may take beyond what it has when it begins


def limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))


def work(name: str, seed: int, first: int, stop: int, deadline: float, progress: str) -> None:
    """Try the inputs from `first` on, writing the number of each before it is tried."""
    with open(progress, "r+b") as file:
        place = mmap.mmap(file.fileno(), 8)
    counts: collections.Counter[str] = collections.Counter()
    findings: dict[str, int] = {}
    index = first
    with tempfile.TemporaryDirectory(prefix="nncore-fuzz-") as folder:
        target = TARGETS[name](folder)
        limit_memory()
        while index < stop and time.time() < deadline:
            place[:8] = struct.pack("<q", index)
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    counts[run_one(target, name, seed, index)] += 1
            except Finding as finding:
                counts["finding"] += 1
                findings.setdefault(str(finding)[:300], index)
                target = TARGETS[name](folder)
            index += 1
    print(json.dumps({"next": index, "counts": counts, "findings": findings}))


def watch(name: str, seed: int, inputs: int, seconds: float) -> tuple[collections.Counter[str], dict[str, int]]:
    """Have the inputs tried in processes; one that dies or hangs is a finding, and the next goes on behind it."""
    counts: collections.Counter[str] = collections.Counter()
    findings: dict[str, int] = {}
    deadline, first = time.time() + seconds, 0
    while first < inputs and time.time() < deadline and len(findings) < 100:
        hung = False
        with tempfile.NamedTemporaryFile() as progress:
            progress.write(struct.pack("<q", -1))  # not begun
            progress.flush()
            command = [*COMMAND, "--target", name, "--seed", str(seed), "--inputs", str(inputs),
                       "--work", f"{first} {deadline} {progress.name}"]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                last, since = -1, time.time()
                while process.poll() is None:
                    time.sleep(0.02)
                    with open(progress.name, "rb") as file:
                        at = struct.unpack("<q", file.read(8))[0]
                    if at != last:
                        last, since = at, time.time()
                    elif last >= 0 and time.time() - since > HANGS:
                        hung = True
                        process.kill()
                        break
                out, error = process.communicate()
            if process.returncode == 0:
                result = json.loads(out.splitlines()[-1])
                counts.update(result["counts"])
                for text, index in result["findings"].items():
                    findings.setdefault(text, index)
                first = result["next"]
            else:
                how = "hung" if hung else f"died with {process.returncode}: {error[-300:]}"
                last = max(last, first)
                findings.setdefault(f"the process {how}", last)
                counts["finding"] += 1
                counts["lost with a process"] += last - first
                first = last + 1
    return counts, findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, action="append", help="what to fuzz; default: all, in turn")
    parser.add_argument("--minutes", type=float, default=2.0, help="for each target; default 2")
    parser.add_argument("--inputs", type=int, default=None, help="for each target, in place of minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--index", type=int, default=None, help="try this one input, and show its traceback")
    parser.add_argument("--work", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    if options.work:
        first, deadline, progress = options.work.split(" ", 2)
        stop = min(options.inputs, int(first) + 20_000)
        work(names[0], options.seed, int(first), stop, float(deadline), progress)
        return 0
    if options.index is not None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(run_one(TARGETS[names[0]](folder), names[0], options.seed, options.index))
            except Finding:
                traceback.print_exc()
                return 1
        return 0
    failed = False
    for name in names:
        began = time.time()
        seconds = 1e9 if options.inputs else 60 * options.minutes
        counts, findings = watch(name, options.seed, options.inputs or 2**60, seconds)
        total = sum(counts.values())
        ends = ", ".join(f"{how} {n:,}" for how, n in counts.most_common())
        print(f"{name}: {total:,} inputs in {time.time() - began:.0f} s, seed {options.seed}: {ends}", flush=True)
        for text, index in findings.items():
            failed = True
            print(f"  FINDING at --target {name} --seed {options.seed} --index {index}: {text}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
