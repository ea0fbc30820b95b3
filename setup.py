"""A wheel with the C++ kernels, if MMJAX_WHEEL_KERNELS is set: they need JAX to be compiled.

Otherwise the wheel has their sources only, and is for any platform.
"""

import os
import platform
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py


class BuildWithKernels(build_py):
    def run(self):
        from mmjax.layers.kernels.build import PORTABLE, PREBUILT, compile_library

        super().run()
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, PREBUILT.name)
            compile_library(PORTABLE[platform.machine()], library)
            to = Path(self.build_lib, "mmjax", "layers", "kernels", PREBUILT.name)
            self.copy_file(str(library), str(to))


class WheelForPlatform(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]  # of any version: the library is not Python's


class ForPlatform(Distribution):
    def has_ext_modules(self):
        return True


if os.environ.get("MMJAX_WHEEL_KERNELS"):
    commands = {"build_py": BuildWithKernels, "bdist_wheel": WheelForPlatform}
    setup(cmdclass=commands, distclass=ForPlatform)
else:
    setup()
