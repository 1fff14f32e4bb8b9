# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Feeds mutated test files to qtx-opt and looks for crashes and hangs.

A batch of mutants goes through one process (`--split-input-file`). What parses and
verifies then runs through every qtx pass and pipeline. A batch that crashes is
bisected to the mutant; each different crash is written to a folder, once.

The exit status is 1 if there was a finding. docs/HowTo/Fuzz.md says how to use it.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEPARATOR = "// -----"
BATCH = 256
PIPELINES_PER_BATCH = 10
TIMEOUT_BATCH, TIMEOUT_ONE = 120, 20
SANITIZER_STATUS = 99

TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\.)*"'  # a string
    r"|[%@!#^][\w.$-]+"  # a value, symbol, alias or block
    r"|-?0x[0-9a-fA-F]+|-?\d+\.\d*(?:[eE][-+]?\d+)?|-?\d+(?=x)|-?\d+"
    r"|x(?=[\d?!a-z])|[A-Za-z_][\w.$]*|->|\n|[^\S\n]+|."
)
NUMBER = re.compile(r"-?\d+(\.\d*([eE][-+]?\d+)?)?$")
TYPE = re.compile(r"(i\d+|f16|bf16|f32|f64|index|none)$")
INTEGERS = (
    "0 1 -1 2 3 4 5 6 7 8 16 31 127 128 255 256 65536 2147483647 2147483648 -2147483648 "
    "4294967296 9223372036854775807 -9223372036854775808 18446744073709551616"
).split()
FLOATS = (
    "0.0 -0.0 1.0 -1.0 0.5 1.0e-40 1.0e-38 3.4e38 1.0e39 0x7FC00000 0x7F800000 0xFF800000"
).split()
TYPES = (
    "i1 i4 i8 i16 i32 i64 si8 ui8 f16 bf16 f32 f64 index none tensor<f32> tensor<*xf32> "
    "vector<4xf32> memref<4xf32> !quant.uniform<i8:f32,0.5:3> "
    "!quant.uniform<i8:f32:0,{0.5,1.0}> !qtx.grouped<i8:f32,axis=-1,[1,1],{0.5,1.0}> "
    "!qtx.grouped<i8:f32,axis=-1,[2],?>"
).split()


# ---- Mutation ----------------------------------------------------------------


@dataclasses.dataclass
class Seeds:
    all: list
    valid: list


def split_functions(text):
    """Each function with the aliases above it; the whole text if that is not possible."""
    aliases = "".join(re.findall(r"^[!#][\w.]+ = .*\n", text, re.MULTILINE))
    functions = re.findall(r"^func\.func (?:.|\n)*?^\}", text, re.MULTILINE)
    return [aliases + function for function in functions] if len(functions) > 1 else [text]


# Between packing and expansion the compiler trusts what it made itself: neither the
# operands of a kernel nor a configuration are verified again.
INTERNAL = re.compile(r"qtx\.kernel|#qtx\.micro_kernel")


# Numbers that MLIR's own verifiers let pass and later follow (docs/UpstreamCrashes.md).
UPSTREAM_INPUT = re.compile(
    r"\b(?:tensor|memref)\.\w+ .*-9223372036854775808"
    r"|\b(?:expand|collapse)_shape %\S+ \[.*\d{9}.*\]\]"
)


def load_texts():
    """Every function of every test file, without its comments, but for internal forms."""
    texts = []
    for path in sorted((ROOT / "test").rglob("*.mlir")):
        for part in path.read_text().split(SEPARATOR):
            lines = (re.sub(r"(^|\s)//.*$", "", line) for line in part.splitlines())
            text = "\n".join(line for line in lines if line.strip())
            if text:
                texts += split_functions(text)
    return [text for text in texts if not INTERNAL.search(text)]


def replace_matching(tokens, rng, pattern, choices):
    places = [i for i, token in enumerate(tokens) if pattern.match(token)]
    if places:
        tokens[rng.choice(places)] = rng.choice(choices)


def choose_number(token, rng):
    """Another number, mostly of the same kind."""
    is_float = "." in token if rng.random() < 0.9 else rng.random() < 0.5
    return rng.choice(FLOATS if is_float else INTEGERS)


def replace_number(tokens, rng):
    places = [i for i, token in enumerate(tokens) if NUMBER.match(token)]
    if places:
        at = rng.choice(places)
        tokens[at] = choose_number(tokens[at], rng)


def mutate_once(tokens, rng, pool):
    """Changes the list of tokens in place."""
    kind = rng.randrange(12)
    at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    if kind == 0:
        del tokens[at]
    elif kind == 1:
        tokens.insert(other, tokens[at])
    elif kind == 2:
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif kind <= 5:
        replace_number(tokens, rng)
    elif kind == 6:
        replace_matching(tokens, rng, NUMBER, ["?"])
    elif kind == 7:
        replace_matching(tokens, rng, TYPE, TYPES)
    elif kind == 8:
        tokens[at] = rng.choice(pool)
    elif kind == 9:
        places = [i for i, token in enumerate(tokens) if token.startswith("%")]
        if places:
            tokens[rng.choice(places)] = tokens[rng.choice(places)]
    else:
        mutate_line(tokens, rng, drop=kind == 10)


def mutate_line(tokens, rng, drop):
    ends = [i for i, token in enumerate(tokens) if token == "\n"]
    if len(ends) < 2:
        return
    index = rng.randrange(len(ends) - 1)
    begin, end = ends[index], ends[index + 1]
    tokens[begin:end] = [] if drop else tokens[begin:end] * 2


def rename(tokens, rng):
    """Replaces one number or type everywhere, which keeps the text consistent."""
    names = sorted({t for t in tokens if NUMBER.match(t) or TYPE.match(t)})
    if names:
        old = rng.choice(names)
        new = rng.choice(TYPES[:14]) if TYPE.match(old) else choose_number(old, rng)
        new = "?" if old.isdigit() and rng.random() < 0.2 else new
        tokens[:] = [new if token == old else token for token in tokens]


def mutate(text, rng, pool):
    tokens = TOKEN.findall(text)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.4:
            rename(tokens, rng)
        elif tokens:
            mutate_once(tokens, rng, pool)
    return "".join(tokens).replace(SEPARATOR, "")


# ---- Execution ---------------------------------------------------------------


def make_environment():
    environment = dict(os.environ)
    environment["LLVM_SYMBOLIZER_PATH"] = "/usr/lib/llvm-22/bin/llvm-symbolizer"
    options = environment.get("ASAN_OPTIONS") or (
        "detect_container_overflow=0:allow_user_poisoning=0"
    )
    environment["ASAN_OPTIONS"] = (
        f"{options}:exitcode={SANITIZER_STATUS}:detect_leaks=0:allocator_may_return_null=1"
    )
    environment["UBSAN_OPTIONS"] = f"print_stacktrace=1:exitcode={SANITIZER_STATUS}"
    return environment


@dataclasses.dataclass
class Outcome:
    trouble: str  # empty, or what kind of finding it is
    stderr: str


class Runner:
    def __init__(self, tool):
        self.tool = str(tool)
        self.environment = make_environment()

    def run(self, mutants, arguments, timeout=TIMEOUT_BATCH):
        command = [
            self.tool, "--split-input-file", "--mlir-disable-threading",
            "--mlir-print-op-on-diagnostic=false", *arguments, "-o", os.devnull,
        ]
        text = f"\n{SEPARATOR}\n".join(mutants) + "\n"
        try:
            result = subprocess.run(
                command, input=text.encode(), capture_output=True,
                timeout=timeout, env=self.environment,
            )
        except subprocess.TimeoutExpired:
            return Outcome("hang", "")
        stderr = result.stderr.decode(errors="replace")
        status = result.returncode
        if status < 0 or status >= SANITIZER_STATUS:
            return Outcome(f"crash (status {status})", stderr)
        if re.search("cannot verify round-trip|roundtripped module differ", stderr):
            return Outcome("round trip", stderr)
        return Outcome("", stderr)

    def find_culprit(self, mutants, arguments):
        """The index of the first mutant that makes trouble, by bisection."""
        low, high = 0, len(mutants)  # mutants[:low] is fine, mutants[:high] is not
        while high - low > 1:
            middle = (low + high) // 2
            if self.run(mutants[low:middle], arguments).trouble:
                high = middle
            else:
                low = middle
        return low

    def list_pipelines(self):
        """The arguments of each run beyond the first one: every qtx pass and pipeline,
        and what the RUN lines of the tests combine."""
        command = [self.tool, "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = re.findall(r"^\s+--?((?:convert-)?(?:qtx|onnx)-[\w-]+)", text, re.MULTILINE)
        pipelines = [[f"--{name}"] for name in dict.fromkeys(names)]
        pipelines += [["--canonicalize"], ["--qtx-to-storage", "--convert-qtx-to-linalg"]]
        for arguments in list_run_lines():
            if arguments not in pipelines:
                pipelines.append(arguments)
        return pipelines


def list_run_lines():
    """The passes, with their options, in the RUN lines of the tests."""
    found = []
    for path in sorted((ROOT / "test").rglob("*.mlir")):
        for line in re.findall(r"RUN: qtx-opt %s ([^|>%]*)", path.read_text()):
            if line.count('"') % 2:
                continue  # an option with a path in it
            words = [re.sub("^--?", "--", word) for word in shlex.split(line)]
            words = [w for w in words if re.match("--.*(qtx|onnx|canon|cse|pass-pipeline)", w)]
            words = [w for w in words if not w.startswith("--remark")]
            if words and words not in found:
                found.append(words)
    return found


# ---- Findings ----------------------------------------------------------------


def load_upstream_patterns():
    """First column of the table in docs/UpstreamCrashes.md."""
    text = (ROOT / "docs" / "UpstreamCrashes.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def get_signature(trouble, stderr):
    """What tells one crash from another: the assertion, or the top qtx frame."""
    for pattern in (
        r"Assertion `.*?' failed", r"LLVM ERROR: .*", r"runtime error: .*",
        r"ERROR: AddressSanitizer: [\w-]+", r"UNREACHABLE executed.*",
    ):
        match = re.search(pattern, stderr)
        if match:
            return re.sub(r"0x[0-9a-f]+|\d+", "N", match.group())
    frames = re.findall(r"^ *#\d+ (?:0x[0-9a-f]+ )?(?:in )?(.*)$", stderr, re.MULTILINE)
    named = [f for f in frames if "llvm::sys" not in f and "libc" not in f]
    return " < ".join(re.sub(r"\(.*", "", f) for f in named[:3]) or trouble


class Findings:
    def __init__(self, folder, tool):
        self.folder = folder
        self.tool = tool
        self.upstream = load_upstream_patterns()
        self.signatures = {}
        self.skipped = 0

    def add(self, mutant, arguments, outcome):
        if any(pattern in outcome.stderr for pattern in self.upstream):
            self.skipped += 1
            return
        signature = get_signature(outcome.trouble, outcome.stderr)
        if signature in self.signatures:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"finding-{len(self.signatures)}.mlir"
        self.signatures[signature] = path
        path.write_text(mutant)
        path.with_suffix(".log").write_text(outcome.stderr)
        command = " ".join([str(self.tool), str(path), *arguments])
        print(f"\nFINDING {outcome.trouble}: {signature}\n  {command}", flush=True)


# ---- Driver ------------------------------------------------------------------


def list_rejected(stderr, mutants):
    """Indices of the mutants that have an error, from the lines of diagnostics."""
    starts, line = {}, 1
    for index, mutant in enumerate(mutants):
        starts[line] = index
        line += mutant.count("\n") + 2
    lines = sorted(starts)
    rejected = set()
    for number in re.findall(r"^<stdin>:(\d+):\d+: error", stderr, re.MULTILINE):
        below = [start for start in lines if start <= int(number)]
        rejected.add(starts[below[-1]] if below else 0)
    return rejected


def run_all(runner, findings, mutants, arguments):
    """Runs mutants, reports what makes trouble; returns the ones that are accepted."""
    accepted = []
    while mutants:
        outcome = runner.run(mutants, arguments)
        if not outcome.trouble:
            rejected = list_rejected(outcome.stderr, mutants)
            return accepted + [m for i, m in enumerate(mutants) if i not in rejected]
        index = runner.find_culprit(mutants, arguments)
        alone = runner.run([mutants[index]], arguments, TIMEOUT_ONE)
        if alone.trouble:
            findings.add(mutants[index], arguments, alone)
        mutants = mutants[index + 1 :]
    return accepted


def run_batch(runner, findings, pipelines, seeds, pool, seed):
    """One batch of mutants through everything; returns how many were accepted."""
    rng = random.Random(seed)
    mutants = []
    while len(mutants) < BATCH:
        # Mostly texts that are valid: from the others little gets beyond parsing.
        texts = seeds.valid if rng.random() < 0.9 else seeds.all
        mutant = mutate(rng.choice(texts), rng, pool)
        if not UPSTREAM_INPUT.search(mutant):
            mutants.append(mutant)
    accepted = run_all(runner, findings, mutants, ["--verify-roundtrip"])
    for arguments in rng.sample(pipelines, min(len(pipelines), PIPELINES_PER_BATCH)):
        run_all(runner, findings, accepted, arguments)
    return len(accepted)


def fuzz(arguments):
    tool = pathlib.Path(arguments.build).resolve() / "bin" / "qtx-opt"
    runner = Runner(tool)
    pipelines = runner.list_pipelines()
    findings = Findings(pathlib.Path(arguments.build).resolve() / "fuzz", tool)
    texts = load_texts()
    rejected = list_rejected(runner.run(texts, []).stderr, texts)
    seeds = Seeds(texts, [t for i, t in enumerate(texts) if i not in rejected])
    pool = [token for text in texts for token in TOKEN.findall(text) if token.strip()]
    deadline = time.monotonic() + arguments.seconds if arguments.seconds else float("inf")
    last = arguments.batches or float("inf")
    batches = accepted = 0

    def work(index):
        if time.monotonic() > deadline or index >= last:
            return None
        return run_batch(
            runner, findings, pipelines, seeds, pool, f"{arguments.seed}-{index}"
        )

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as executor:
        index = 0
        while time.monotonic() < deadline and index < last:
            step = range(index, index + arguments.jobs)
            index += arguments.jobs
            for count in executor.map(work, step):
                if count is not None:
                    batches += 1
                    accepted += count
    print(
        f"fuzz: seed {arguments.seed}, {batches * BATCH} mutants of {len(texts)} inputs, "
        f"{accepted} of them valid, through {len(pipelines) + 1} pipelines: "
        f"{len(findings.signatures)} findings, {findings.skipped} known upstream"
    )
    return 1 if findings.signatures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--batches", type=int, help=f"stop after this many times {BATCH} mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if not arguments.seconds and not arguments.batches:
        parser.error("expected --seconds or --batches")
    return fuzz(arguments)


if __name__ == "__main__":
    sys.exit(main())
