"""What all-mpnet-base-v2 finds in the documentation, for those without its 404 MB: results/mpnet_documentation.json.

    python benchmarks/mpnet_documentation.py FOLDER     (assembled by benchmarks/mpnet.py)

Recall@10 of each query, so that a difference to it is paired. It holds for the corpus whose hash stands beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mpnet import assemble

from stlib import SentenceEncoder
from stlib.evidence.corpora import documentation
from stlib.evidence.records import now, versions, write_whole
from stlib.evidence.scores import ranking
from stlib.evidence.vectors import encoded

OUT = Path(__file__).resolve().parent.parent / "results" / "mpnet_documentation.json"


def main() -> None:
    encoder, passages = SentenceEncoder(assemble(Path(sys.argv[1])), truncation="ignore"), documentation()
    found = ranking(encoded(encoder, passages.queries), encoded(encoder, passages.texts), passages.relevant)
    write_whole(OUT, {
        "model": "sentence-transformers/all-mpnet-base-v2", "measure": "recall@10 of each query, in points",
        "passages": {name: passages.attrs[name] for name in ("name", "sha256", "versions", "used")},
        "values": found.parts[0].pseudo.round(2).tolist(), "value": found.value, "versions": versions(), "date": now(),
    })  # fmt: skip
    print(found)


if __name__ == "__main__":
    main()
