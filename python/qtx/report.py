# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads the report of a compilation, which `qtxc --report=FILE.json` writes.

    import qtx.report
    report = qtx.report.load("report.json")
    for edge in report.noisiest(5):
        print(edge.name, edge.sqnr_db, len(edge.outliers))

docs/Report.md says what the fields mean.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any, Callable, TypeVar, cast

_T = TypeVar("_T")

VERSION = 1


@dataclasses.dataclass(frozen=True)
class Group:
    """Quantization parameters of a group of channels."""

    size: int
    scale: float
    zero_point: int


@dataclasses.dataclass(frozen=True)
class Edge:
    """A tensor between operations."""

    name: str
    block: str
    op: str
    type: str
    lo: tuple[float, ...] = ()
    hi: tuple[float, ...] = ()
    outliers: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    group_of_channel: tuple[int, ...] = ()
    observer: str = ""
    margin: float | None = None
    scaled: bool = False
    shifted: bool = False
    sqnr_db: float | None = None
    reason: str = ""

    @property
    def quantized(self) -> bool:
        return self.type != "f32"


@dataclasses.dataclass(frozen=True)
class Layer:
    """An operation with weights, or a product of activations."""

    name: str
    block: str
    op: str
    shape: tuple[int, ...]
    type: str
    method: str = ""
    bias_corrected: bool = False
    scale_search: bool = False
    weight_error: float | None = None
    output_sqnr_db: float | None = None
    kernel: str = ""
    kernel_reason: str = ""
    reason: str = ""

    @property
    def quantized(self) -> bool:
        return self.type != "f32"


@dataclasses.dataclass(frozen=True)
class Remark:
    """Why a pass left something as it was."""

    # `pass` in the file, which is no name in Python.
    pass_name: str
    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class Calibration:
    data: str
    observer: str
    samples: int
    positions: int
    feeds: int


@dataclasses.dataclass(frozen=True)
class Report:
    model: str
    recipe: str
    edges: tuple[Edge, ...]
    layers: tuple[Layer, ...]
    totals: dict[str, float]
    stages: dict[str, float]
    calibration: Calibration | None = None
    remarks: tuple[Remark, ...] = ()

    def noisiest(self, count: int) -> list[Edge]:
        """The quantized edges with the least signal over noise, worst first."""
        known = [edge for edge in self.edges if edge.sqnr_db is not None]
        return sorted(known, key=lambda edge: (edge.sqnr_db, edge.name))[:count]


def _build(cls: Callable[..., _T], fields: dict[str, Any]) -> _T:
    """An instance of `cls`; lists become tuples, fields of later versions are left out."""
    known = {field.name for field in dataclasses.fields(cast(Any, cls))}
    return cls(**{
        key: tuple(value) if isinstance(value, list) else value
        for key, value in fields.items()
        if key in known
    })


def _build_edge(fields: dict[str, Any]) -> Edge:
    groups = [_build(Group, group) for group in fields.get("groups", [])]
    return _build(Edge, {**fields, "groups": groups})


def _build_remark(fields: dict[str, Any]) -> Remark:
    return _build(Remark, {**fields, "pass_name": fields["pass"]})


def loads(text: str) -> Report:
    """The report in a JSON text; ValueError if it is none of this version."""
    root = json.loads(text)
    if not isinstance(root, dict) or root.get("version") != VERSION:
        found = root.get("version") if isinstance(root, dict) else None
        raise ValueError(f"expected a report of version {VERSION}, found {found}")
    try:
        return _build_report(root)
    except KeyError as error:
        raise ValueError(f"expected a report of version {VERSION}, found one without {error}") from None


def _build_report(root: dict[str, Any]) -> Report:
    calibration = root.get("calibration")
    return Report(
        model=root["model"],
        recipe=root["recipe"],
        edges=tuple(_build_edge(edge) for edge in root["edges"]),
        layers=tuple(_build(Layer, layer) for layer in root["layers"]),
        totals=root["totals"],
        stages={stage["name"]: stage["seconds"] for stage in root["stages"]},
        calibration=_build(Calibration, calibration) if calibration else None,
        remarks=tuple(map(_build_remark, root.get("remarks", []))),
    )


def load(path: str | os.PathLike[str]) -> Report:
    """The report in the file `path`."""
    with open(path, encoding="utf-8") as file:
        return loads(file.read())
