"""Modules with other constants, for benchmarks that compare variants."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def patched_constants(values: dict[str, object], *modules: ModuleType) -> Iterator[None]:
    """Within the block, each name has its value in the first of the modules that defines it."""
    owners = {name: next(module for module in modules if hasattr(module, name)) for name in values}
    before = {name: getattr(owner, name) for name, owner in owners.items()}
    for name, owner in owners.items():
        setattr(owner, name, values[name])
    try:
        yield
    finally:
        for name, owner in owners.items():
            setattr(owner, name, before[name])
