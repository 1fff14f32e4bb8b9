# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Puts the compiler's library into the package, and builds it where there is none."""

import os
import pathlib
import shutil
import subprocess

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
NAME = "libqtx-c.so"


def find_library():
    """The library that QTX_LIBRARY_PATH names, or that of the repository."""
    given = os.environ.get("QTX_LIBRARY_PATH")
    if given:
        path = pathlib.Path(given)
        return path / NAME if path.is_dir() else path
    path = REPOSITORY / "build" / "lib" / NAME
    if not path.exists():
        subprocess.run(["cmake", "--preset", "release"], cwd=REPOSITORY, check=True)
        subprocess.run(["cmake", "--build", "build", "--target", "qtx-c"], cwd=REPOSITORY,
                       check=True)
    return path


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copy2(find_library(), pathlib.Path(self.build_lib, "qtx", NAME))


class PlatformWheel(bdist_wheel):
    """For any Python, but for one platform."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


# Nothing is written beside the sources.
FOLDER = REPOSITORY / "build" / "python"
FOLDER.mkdir(parents=True, exist_ok=True)

setup(
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
    distclass=PlatformDistribution,
    options={"build": {"build_base": str(FOLDER)}, "egg_info": {"egg_base": str(FOLDER)}},
)
