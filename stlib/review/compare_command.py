"""`python -m stlib compare A B C`: candidates side by side on your data, as a page and as JSON."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stlib.evidence import corpora
from stlib.review import comparison_page
from stlib.review.candidates import named
from stlib.review.compare import compare
from stlib.review.series import DATA, add_data_arguments, checked_out, one_line

LIMITS = {"pairs": 10_000, "sentences": 3_000, "passages": None}
"""More rows than these are drawn at random: of sentences and pairs each is compared with every other."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m stlib compare`."""
    parser.add_argument(
        "candidates", nargs="+", metavar="MODEL",
        help="a name or a folder, perhaps with choices: M:pooling=cls, M:output_dim=256,dtype=bfloat16, "
        "M:prompt_name=query, M:pca=192, as a control M:weights=random; BM25 and TF-IDF run always",
    )  # fmt: skip
    parser.add_argument("--baseline", metavar="MODEL", help="the one in use (default: the first)")
    parser.add_argument("--margin", type=float, default=1.0, metavar="POINTS", help="what would change it (1)")
    add_data_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Exit codes: 0 done, 1 a candidate failed, 2 the request cannot be carried out."""
    try:
        out = checked_out(args.out, comparison_page.GENERATOR)
        named(args.candidates)
        data = _data(args)
        found = compare(
            args.candidates, **data, baseline=args.baseline, margin=args.margin, seed=args.seed,
            progress=lambda text: print(text, end="", flush=True),
        )  # fmt: skip
    except (ValueError, OSError) as error:
        print(f"compare: {one_line(error)}", file=sys.stderr)
        return 2
    comparison_page.write(found, out)
    print(f"{found.advice}\n{args.out.rstrip('/')}/index.html")
    return 0 if found.whole else 1


def _data(args: argparse.Namespace) -> dict[str, Any]:
    """What was given, or all that is built in. ValueError in one line: it cannot be read."""
    given = {kind: getattr(args, kind) for kind in DATA if getattr(args, kind)}
    if not 0 <= args.seed < 2**32:
        raise ValueError(f"seed: expected 0 to {2**32 - 1}, got {args.seed}")
    found = {}
    for kind, source in (given or dict.fromkeys(DATA, "built-in")).items():
        try:
            found[kind] = getattr(corpora, f"load_{kind}")(source, limit=LIMITS[kind], seed=args.seed)
        except Exception as error:  # readers and the hub's client raise a dozen kinds; each means: unreadable
            raise ValueError(f"{kind}: {one_line(error)}") from error
    return found
