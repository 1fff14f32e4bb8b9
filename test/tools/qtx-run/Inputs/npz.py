# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes and prints .npz files without NumPy, good ones and bad ones.

npz.py write OUT.npz [--deflate] NAME:DESCR:SHAPE[:F]=VALUE,VALUE,... ...
npz.py bad KIND OUT.npz            one of the kinds in `BAD`, with the array `x`
npz.py print FILE.npz
"""

import ast
import struct
import sys
import zipfile

FORMATS = {"b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H",
           "u4": "I", "u8": "Q", "f2": "e", "f4": "f", "f8": "d"}


def make_header(descr, shape, order="False", version=1):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"
    return wrap_header(text, version)


def wrap_header(text, version=1):
    text = text.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


def pack(descr, values):
    return struct.pack(f"<{len(values)}{FORMATS[descr[1:]]}", *values)


def make_array(argument):
    target, _, text = argument.partition("=")
    name, descr, shape, *order = target.split(":")
    sizes = [int(size) for size in shape.split("x") if size]
    parse = float if descr[1] == "f" else int
    values = [parse(value) for value in text.split(",") if value]
    version = 2 if order == ["v2"] else 3 if order == ["v3"] else 1
    header = make_header(descr, tuple(sizes), str(order == ["F"]), version)
    return name, header + pack(descr, values)


GOOD = make_header("<f4", (2,)) + pack("<f4", [1, 2])
# What the entry `x.npy` holds.
BAD = {
    "empty-entry": b"",
    "no-magic": b"NUMPY" + GOOD,
    "version": b"\x93NUMPY\x09\x00" + GOOD[8:],
    "truncated-header": GOOD[:20],
    "truncated-elements": GOOD[:-1],
    "too-many-elements": GOOD + b"\0",
    "header-length": GOOD[:6] + b"\x02\0\xff\xff\xff\xff" + GOOD[10:],
    "big-endian": make_header(">f4", (2,)) + struct.pack(">2f", 1, 2),
    "object": make_header("|O", (2,)) + b"\0" * 16,
    "string": make_header("<U4", (2,)) + b"\0" * 32,
    "complex": make_header("<c8", (2,)) + b"\0" * 16,
    "structured": wrap_header(
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }") + pack("<f4", [1, 2]),
    "not-a-dictionary": wrap_header("(1, 2)"),
    "unclosed": wrap_header("{'descr': '<f4'"),
    "unclosed-string": wrap_header("{'descr"),
    "no-shape": wrap_header("{'descr': '<f4', 'fortran_order': False}") + b"\0" * 8,
    "unknown-key": wrap_header("{'type': '<f4'}"),
    "bad-order": wrap_header("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}"),
    "negative-size": make_header("<f4", (-1,)),
    "huge-size": make_header("<f4", (2**70,)),
    "huge-product": make_header("<f4", (2**40, 2**40)),
    "huge-claim": make_header("<f4", (2**45,)),
    "large-claim": make_header("<f4", (2**30,)),
    "huge-beside-zero": make_header("<f4", (2**62, 0, 2**62)),
    "rank": make_header("<f4", (1,) * 65) + b"\0" * 4,
    "after-dictionary": wrap_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x"),
}


def write_bad(kind, path):
    if kind == "not-a-zip":
        with open(path, "wb") as file:
            file.write(b"this is not an archive")
        return
    with zipfile.ZipFile(path, "w") as archive:
        if kind == "other-entry":
            archive.writestr("readme.txt", b"hello")
        else:
            archive.writestr("x.npy", BAD.get(kind, GOOD))
    with open(path, "rb") as file:
        data = file.read()
    if kind == "truncated-zip":
        data = data[:-30]
    if kind == "checksum":
        at = data.index(GOOD[-8:])
        data = data[:at] + b"\xff" + data[at + 1:]
    with open(path, "wb") as file:
        file.write(data)


def print_array(name, data):
    version = data[6]
    size = 2 if version == 1 else 4
    length = int.from_bytes(data[8:8 + size], "little")
    start = 8 + size + length
    assert start % 64 == 0, "elements are aligned"
    header = ast.literal_eval(data[8 + size:start].decode())
    descr = header["descr"]
    count = (len(data) - start) // struct.calcsize(FORMATS[descr[1:]])
    values = struct.unpack(f"<{count}{FORMATS[descr[1:]]}", data[start:])
    print(name, descr, header["shape"], header["fortran_order"], list(values))


def main(command, *arguments):
    if command == "bad":
        write_bad(*arguments)
    elif command == "write":
        path, *arrays = arguments
        deflate = "--deflate" in arrays
        with zipfile.ZipFile(
                path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
            for array in arrays:
                if array != "--deflate":
                    name, data = make_array(array)
                    archive.writestr(name + ".npy", data)
    elif command == "print":
        with zipfile.ZipFile(arguments[0]) as archive:
            for name in archive.namelist():
                print_array(name, archive.read(name))


main(*sys.argv[1:])
