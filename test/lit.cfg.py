"""lit configuration of the regression tests."""

import os
import platform
import shutil

import lit.formats
import lit.util
from lit.llvm import llvm_config
from lit.llvm.subst import ToolSubst

config.name = "qtx"
config.test_format = lit.formats.ShTest(not llvm_config.use_lit_shell)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "CMakeLists.txt", "Integration", "Fuzz"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.qtx_obj_root, "test")

# FileCheck: a prefix that no line uses, or a variable that leaks from one function
# into the next, is a mistake in the test.
llvm_config.with_system_environment(
    ["HOME", "TMP", "TEMP", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"]
)
config.environment["FILECHECK_OPTS"] = (
    "--enable-var-scope --allow-unused-prefixes=false"
)

# ---- Tools -------------------------------------------------------------------

# The build's tools come before LLVM's.
llvm_config.with_environment("PATH", config.llvm_tools_dir, append_path=True)
llvm_config.with_environment("PATH", config.qtx_tools_dir, append_path=True)
llvm_config.use_default_substitutions()

# With QTX_VERIFY_ROUNDTRIP=1 every input that qtx-opt reads also survives printing
# and parsing, as text and as bytecode.
qtx_opt = ToolSubst("qtx-opt")
if os.environ.get("QTX_VERIFY_ROUNDTRIP") == "1":
    qtx_opt = ToolSubst("qtx-opt", "qtx-opt", extra_args=["--verify-roundtrip"])

tools = [qtx_opt]
for name in ("qtx-run", "qtx-bench", "qtxc", "qtx-reduce", "qtx-lsp-server"):
    tools.append(ToolSubst(name, unresolved="ignore"))
llvm_config.add_tool_substitutions(
    tools, [config.qtx_tools_dir, config.llvm_tools_dir]
)
config.substitutions.append(("%python", '"%s"' % config.python_executable))
config.substitutions.append(("%qtx_src_root", config.qtx_src_root))

# ---- Features ----------------------------------------------------------------

# Everything a test may require. `./dev test` prints the names of those that are
# off on this machine.
CPU_FEATURES = {
    # feature: the names that /proc/cpuinfo must list
    "cpu-avx2": ["avx2", "fma"],
    "cpu-avx512vnni": ["avx512_vnni"],
    "cpu-avxvnni": ["avx_vnni"],
    "cpu-amx-int8": ["amx_tile", "amx_int8"],
}
KNOWN_FEATURES = [*CPU_FEATURES, "x86", "qemu-aarch64", "aarch64-cross"]


def read_cpu_flags():
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                if line.startswith(("flags", "Features")):
                    return set(line.split(":", 1)[1].split())
    except OSError:
        pass
    return set()


cpu_flags = read_cpu_flags()
for feature, needed in CPU_FEATURES.items():
    if cpu_flags.issuperset(needed):
        config.available_features.add(feature)
if platform.machine() in ("x86_64", "AMD64"):
    config.available_features.add("x86")
if shutil.which("qemu-aarch64"):
    config.available_features.add("qemu-aarch64")
if shutil.which("aarch64-linux-gnu-gcc"):
    config.available_features.add("aarch64-cross")
if config.qtx_sanitize:
    config.available_features.add("sanitizer")
for feature in KNOWN_FEATURES:
    if feature not in config.available_features:
        lit_config.note("feature off: " + feature)
