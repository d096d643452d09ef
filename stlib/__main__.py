"""`python -m stlib review …`: the series on your model and data. `python -m stlib encode …`: files of any size."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; `--help` says the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser(command: str | None) -> Parser:
    parser = Parser(prog="python -m stlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="review | encode")
    review = commands.add_parser("review", help="run the series, write a page for a design review")
    review.add_argument("--model", help="a hub name or a folder (default: all-MiniLM-L6-v2)")
    data = "CSV, TSV, JSONL or Parquet file, or hf:// address"
    review.add_argument("--pairs", help=f"{data}, with sentence1, sentence2 and score; anchor and kind are optional")
    review.add_argument("--sentences", help=f"{data}, with text; label is optional")
    review.add_argument("--out", required=True, help="folder for the pages")
    review.add_argument("--seed", type=int, default=0)
    review.add_argument("--only", nargs="+", default=[], metavar="NN", help="notebooks to run, such as 02 05")
    review.add_argument("--timeout", type=float, default=1800.0, metavar="SECONDS", help="for each notebook (1800)")
    encode = commands.add_parser("encode", help="encode a file of any size")
    if command == "encode":  # the other command need not import it
        from stlib.bulk import encode as bulk

        bulk.add_arguments(encode)
    return parser


def _review(args: argparse.Namespace) -> int:
    from stlib.review import series as review

    try:
        request = review.prepare(
            args.model, pairs=args.pairs, sentences=args.sentences, out=args.out, seed=args.seed, only=args.only,
            timeout=args.timeout,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        print(f"review: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    done = review.run(request, lambda text: print(text, end="", flush=True))
    print(f"{args.out.rstrip('/')}/index.html")
    return 0 if done.whole else 1


def _stop(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a notebook failed, 2 the request cannot be carried out, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser(argv[0] if argv else None).parse_args(argv)
    if args.command == "encode":
        from stlib.bulk import encode as bulk

        return bulk.main(args)
    signal.signal(signal.SIGTERM, _stop)  # so that what was started ends with it
    try:
        return _review(args)
    except KeyboardInterrupt:
        print("\nreview: interrupted; no page was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
