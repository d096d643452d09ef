"""The garbage collector is only paused, and comes back whatever happens."""

import gc
import subprocess
import sys

import pytest

from stlib import SentenceTransformer
from stlib.startup import collection_paused


def test_collection_is_paused_inside_and_comes_back():
    with pytest.raises(KeyError), collection_paused():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_collection_stays_off_where_it_was_off():
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_failed_load_leaves_collection_on(tmp_path):
    with pytest.raises(ValueError):
        SentenceTransformer.from_pretrained(tmp_path)
    assert gc.isenabled()


def test_collection_is_on_after_the_import():
    code = "import gc, stlib; raise SystemExit(not gc.isenabled())"
    subprocess.run([sys.executable, "-c", code], check=True)
