"""Lazy names: a package whose public names are imported when the first of them is used.

`pyraface --help`, and programs that need one small part, do not wait for NumPy and everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def names_of(package: str, *modules: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Returns the `__getattr__` and the `__dir__` (PEP 562) of a package that offers the public names of modules.

    A name is looked up in one module after the other, so that the modules after the first that has it are not imported.

    Args:
        package: the package's `__name__`.
        modules: relative to it. Every name in them without an underscore is public.
    """

    def public() -> list[str]:
        return sorted(
            {name for module in modules for name in vars(import_module(module, package)) if name[0] != "_"}
        )

    def get(name: str) -> object:
        if name == "__all__":
            return public()
        # `from package import submodule` asks for it here first, and must not import everything public for that
        if name[0] != "_" and find_spec(f"{package}.{name}") is None:
            for module in modules:
                found = vars(import_module(module, package))
                if name in found:
                    setattr(sys.modules[package], name, found[name])
                    return found[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def every_name() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public()})

    return get, every_name
