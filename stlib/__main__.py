"""Sentence encoders, small and exact, with the evidence for each design decision."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from typing import Any, NoReturn

COMMANDS = {
    "review": ("stlib.review.series", "run the lessons on your model and data, as a page"),
    "compare": ("stlib.review.compare_command", "set models side by side on your data, as a page"),
    "search": ("stlib.evidence.search", "type a query, see what is found and why"),
    "encode": ("stlib.bulk.encode", "vectors for files and folders of any size"),
}
"""What each command does, and the module that has its `add_arguments` and `main`: imported for that command alone."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; `--help` says the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _stop(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a part failed, 2 the request cannot be carried out, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser(prog="python -m stlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar=" | ".join(COMMANDS))
    for name, (place, words) in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        if argv[:1] == [name]:
            module = importlib.import_module(place)
            module.add_arguments(command)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)  # so that what was started ends with it
    try:
        return int(module.main(args))
    except KeyboardInterrupt:
        print(f"\n{args.command}: interrupted; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
