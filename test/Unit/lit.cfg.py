"""lit configuration of the GoogleTest binaries."""

import os

import lit.formats

config.name = "qtx-unit"
config.suffixes = []
config.test_exec_root = os.path.join(config.qtx_obj_root, "test", "Unit")
config.test_source_root = config.test_exec_root
config.test_format = lit.formats.GoogleTest(".", "Tests")

for name in ("ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
