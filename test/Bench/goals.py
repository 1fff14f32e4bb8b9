# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What speed qtx is to reach, and what the results of a run say about it."""

import functools

import contenders
import machine
import models

OPENVINO, CTRANSLATE2 = "OpenVINO NNCF int8", "CTranslate2 int8"
ONNXRUNTIME = "ONNX Runtime dynamic int8"


def compare_encoders(results, own, peer, **keys):
    """The time of one contender over that of another, or None: also where one had instructions
    that the other was not to use."""
    times = {row["name"]: row["median_ms"] for row in results.get("encoder", {}).get("rows", ())
             if row.get("batch") == 1 and row.get("note") != contenders.ALL_INSTRUCTIONS
             and all(row.get(key) == keys[key] for key in keys)}
    return times[own] / times[peer] if own in times and peer in times else None


def list_encoder_goals():
    def add(text, limit, own, peer, **keys):
        place = (f"{keys['model']}, S={keys['sequence']}, {keys['isa']}, "
                 f"{keys['threads']} thread(s): ")
        goals.append((place + text, limit, "at most",
                      functools.partial(compare_encoders, own=own, peer=peer, **keys)))

    goals = []
    for model in ("minilm", "bert-base"):
        for isa in machine.ISAS:
            for threads in (1, 2):
                for sequence in (128, 384):
                    keys = {"model": model, "isa": isa, "threads": threads, "sequence": sequence}
                    limit = choose_limit(**keys)
                    others = 0.5 if model == "minilm" else 0.65
                    own = contenders.get_own_name(isa)
                    recipe = models.get_recipe(isa)
                    add(f"{recipe} / OpenVINO NNCF", limit, own, OPENVINO, **keys)
                    if stretch := choose_stretch(**keys):
                        add(f"{recipe} / OpenVINO NNCF, stretch", stretch, own, OPENVINO, **keys)
                    add(f"{recipe} / ONNX Runtime dynamic", others, own, ONNXRUNTIME, **keys)
                    add(f"{recipe} / CTranslate2", others, own, CTRANSLATE2, **keys)
                    add("fp32 / OpenVINO fp32", 0.95, "qtx none", "OpenVINO fp32", **keys)
    return goals


def choose_limit(model, isa, threads, sequence):
    """Time relative to OpenVINO NNCF."""
    if isa == "amx":
        return 0.80
    if model == "minilm":
        return 0.65 if sequence == 128 else 0.74
    return 0.87 if threads == 1 else 0.85


def choose_stretch(model, isa, threads, sequence):
    """What would be better still; None where the goals do not say."""
    del threads
    if isa != "avx512":
        return None
    if model == "minilm":
        return 0.62 if sequence == 128 else 0.70
    return 0.82


def find_time(results, name, **keys):
    for row in results.get("encoder", {}).get("rows", ()):
        if row["name"] == name and row.get("batch") == 1 and "median_ms" in row and all(
                row.get(key) == value for key, value in keys.items()):
            return row["median_ms"]
    return None


def divide_times(results, first, second):
    """The time of one row over that of another, each given by its keys, or None."""
    times = [find_time(results, **keys) for keys in (first, second)]
    return times[0] / times[1] if None not in times else None


def list_scaling_goals():
    """What goals say of qtx itself: the second thread, and dynamic shapes."""
    goals = []
    for isa in machine.ISAS:
        keys = {"model": "minilm", "isa": isa, "threads": 2, "sequence": 384}
        goals.append((f"minilm, S=384, {isa}: 1 thread / 2 threads", 1.85, "at least",
                      functools.partial(divide_times, first={**keys, "name": contenders.SINGLE},
                                        second={**keys, "name": contenders.get_own_name(isa)})))
        for sequence in (128, 384):
            keys = {"model": "minilm", "isa": isa, "threads": 1, "sequence": sequence}
            goals.append((f"minilm, S={sequence}, {isa}: dynamic / static shapes", 1.05, "at most",
                          functools.partial(divide_times, first={**keys, "name": contenders.get_own_name(isa)},
                                            second={**keys, "name": contenders.STATIC})))
    return goals


def find_linear(results, choose, value, better=min):
    """The worst value of the rows of the suite `linear` that `choose` takes."""
    rows = [row for row in results.get("linear", {}).get("rows", ())
            if "missing" not in row and choose(row)]
    values = [row[value] for row in rows if row.get(value) is not None]
    return better(values) if values else None


def list_linear_goals():
    def add(text, limit, relation, value, better, choose):
        goals.append((f"linear: {text}", limit, relation,
                      lambda results: find_linear(results, choose, value, better)))

    def is_large(row):
        return row["shape"][0] >= 128 and row["shape"][1] >= 384

    goals = []
    for isa, limit in (("avx2-int16", 93), ("avx2-int8", 93), ("avx-vnni", 93), ("avx512-vnni", 93), ("amx-int8", 50)):
        add(f"per tensor, {isa}, % of peak, worst shape", limit, "above", "percent_of_peak", min,
            lambda r, isa=isa: r["isa"] == isa and r["kind"] == "per tensor" and is_large(r))
    for isa, shape, limit in (
            *((isa, *limit) for isa in ("avx2-int16", "avx2-int8", "avx-vnni", "avx512-vnni") for limit in (
                ([384, 768, 3072], 1.12), ([128, 384, 1536], 1.17), ([128, 384, 384], 1.17))),
            ("amx-int8", [384, 768, 3072], 1.5)):
        add(f"6 groups / per tensor, {isa}, {'x'.join(map(str, shape))}", limit, "at most", "ratio",
            max, lambda r, isa=isa, shape=shape: (r["isa"], r["shape"], r["kind"]) ==
            (isa, shape, "quantize, 6 groups"))
    for isa in ("avx2-int16", "avx2-int8", "avx-vnni", "avx512-vnni", "amx-int8"):
        add(f"outliers apart / per tensor, {isa}, worst shape", 1.06, "at most", "ratio", max,
            lambda r, isa=isa: r["isa"] == isa and "outliers" in r["kind"] and is_large(r))
    for kind in ("per tensor", "int4", "int4, blocks of 128"):
        add(f"one row, {kind}, % of memory bandwidth", 85, "above", "percent_of_bandwidth", min,
            lambda r, kind=kind: r["kind"] == kind and r["shape"][:2] == [1, 8192])
    return goals


def compare_attention(results, name, peer, isa):
    times = {row["name"]: row["median_ms"]
             for row in results.get("attention", {}).get("rows", ())
             if (row.get("sequence"), row["threads"], row["isa"]) == (384, 1, isa)}
    return times[name] / times[peer] if name in times and peer in times else None


def list_attention_goals():
    goals = []
    for isa in machine.ISAS:
        for name, peer, limit in (("qtx int8", "ONNX Runtime fp32", 0.35),
                                  ("qtx int8 clipped", "qtx int8", 1.15),
                                  ("qtx int8 gated", "qtx int8", 1.15)):
            goals.append((f"attention 12x64, S=384, {isa}: {name} / {peer}", limit, "at most",
                          functools.partial(compare_attention, name=name, peer=peer, isa=isa)))
    for name in ("qtx int8", "qtx fp32"):
        for isa in machine.ISAS:
            goals.append((f"attention, S=16384, {isa}: {name}, time per score / at S=384", 1.1,
                          "at most", functools.partial(compare_long_attention, name=name, isa=isa)))
    return goals


def compare_long_attention(results, name, isa):
    times = {row["sequence"]: row["ns_per_score"]
             for row in results.get("attention", {}).get("rows", ()) if "ns_per_score" in row and
             (row["name"], row["threads"], row["isa"]) == (name, 1, isa)}
    return times[16384] / times[384] if 16384 in times and 384 in times else None


def find_compile(results, model, recipe, value):
    for row in results.get("compile", {}).get("rows", ()):
        if row["model"] == model and row["recipe"] == recipe and value in row:
            return row[value]
    return None


def list_compile_goals():
    goals = [("MiniLM: load to first result, ms", 20, "at most",
              functools.partial(find_compile, model="minilm", recipe="int8", value="load_ms"))]
    for model, seconds, mib in (("minilm", 15, 1500), ("bert-base", 45, 3000)):
        for recipe in ("int8", "w8a8-dynamic", "none"):
            find = functools.partial(find_compile, model=model, recipe=recipe)
            goals.append((f"{model}, {recipe}: compile time without data, s", seconds, "at most",
                          functools.partial(find, value="seconds_without_data")))
            # Samples, and what GPTQ learns from them, need memory of their own.
            goals.append((f"{model}, {recipe}: peak memory, MiB", 4096 if recipe == "int8" else mib,
                          "at most", functools.partial(find, value="peak_mib")))
    return goals


def check(results):
    """One entry for each goal that the results speak of."""
    summary = []
    for text, limit, relation, find in (list_linear_goals() + list_attention_goals() +
                                        list_encoder_goals() + list_scaling_goals() + list_compile_goals()):
        value = find(results)
        if value is not None:
            met = {"at most": value <= limit, "at least": value >= limit,
                   "above": value > limit}[relation]
            summary.append({"goal": text, "relation": relation, "limit": limit, "value": value,
                            "met": bool(met)})
    return summary


def print_table(summary):
    if not summary:
        return
    width = max(len(entry["goal"]) for entry in summary)
    print(f"\n{'goal':{width}} {'':>8} {'limit':>7} {'value':>8}")
    for entry in summary:
        print(f"{entry['goal']:{width}} {entry['relation']:>8} {entry['limit']:7.4g} "
              f"{entry['value']:8.4g} {'met' if entry['met'] else 'MISSED'}")
    print(f"{sum(entry['met'] for entry in summary)} of {len(summary)} met")
