"""Print how long the core is, file by file, and hold the package to its sizes: `make lines`.

A file or a class that is longer says so in its docstring: "Longer than 400 lines: " and why.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "stlib"
CORE = ("pooling", "projection", "backbone", "checkpoint", "fast", "linear", "model", "encoder")
"""The seven files of the design and the products of `fast`. What they stand on, token ids too, is counted apart."""
CORE_LINES, FILE_LINES, CLASS_LINES = 1700, 400, 200


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def too_long(path: Path) -> Iterator[str]:
    """The file and the classes in it that are longer than they may be and do not say why."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts: list[tuple[ast.Module | ast.ClassDef, str, int, int]] = [(tree, "", length(path), FILE_LINES)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            parts.append((node, f", class {node.name}", (node.end_lineno or 0) - node.lineno + 1, CLASS_LINES))
    for node, name, lines, limit in parts:
        if lines > limit and f"Longer than {limit} lines: " not in (ast.get_docstring(node) or ""):
            yield f"{path.relative_to(PACKAGE.parent)}{name}: {lines} lines, at most {limit}"


def main() -> int:
    core = {name: length(PACKAGE / f"{name}.py") for name in CORE}
    support = {path.stem: length(path) for path in sorted(PACKAGE.glob("[!_]*.py")) if path.stem not in CORE}
    for title, files in (("core", core), ("what all may use", support)):
        for name, lines in files.items():
            print(f"{lines:6}  stlib/{name}.py")
        print(f"{sum(files.values()):6}  {title}\n")
    faults = [fault for path in sorted(PACKAGE.rglob("*.py")) for fault in too_long(path)]
    if sum(core.values()) > CORE_LINES:
        faults.append(f"the core: {sum(core.values())} lines, at most {CORE_LINES}")
    print("\n".join(faults))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
