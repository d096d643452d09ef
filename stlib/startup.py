"""Faster imports: nothing here may import torch or transformers, since it has to come before them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection inside.

    Importing torch and transformers makes millions of objects that all stay; looking through them again and again for
    garbage is a quarter of the time to the first vector.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
