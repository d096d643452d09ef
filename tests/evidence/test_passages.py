"""A reader's own queries and passages: a table of judgements or a folder of texts, refused where they make no sense."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stlib.evidence import corpora
from stlib.evidence.corpora import describe, load_passages
from stlib.evidence.passages import Passages

ROWS = [
    {
        "query": "How long is a refund possible?",
        "text": "Within 30 days.",
        "relevance": 2,
        "label": "shop",
        "source": "x",
    },
    {"query": "How long is a refund possible?", "text": "Ask the desk.", "relevance": 0.5, "label": "", "source": "y"},
    {
        "query": "How long is a refund possible?",
        "text": "We open at nine.",
        "relevance": 0,
        "label": "hours",
        "source": "",
    },
    {"query": "When do you open?", "text": "We open at nine.", "relevance": 1, "label": "hours", "source": "z"},
]


def table(path: Path, rows: list[dict[str, object]] = ROWS, without: tuple[str, ...] = ()) -> Path:
    frame = pd.DataFrame(rows).drop(columns=list(without))
    {".csv": frame.to_csv, ".parquet": frame.to_parquet}[path.suffix](path, index=False)
    return path


def folder(place: Path, **files: str) -> Path:
    """A folder of the files: `a__b_md` is a/b.md."""
    for name, content in files.items():
        path = place / (name.replace("__", "/")[::-1].replace("_", ".", 1)[::-1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return place


# ------------------------------------------------------------------------------------------------ a table


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_is_a_judgement(tmp_path: Path, suffix: str) -> None:
    found = load_passages(table(tmp_path / f"mine{suffix}"))
    assert found.queries == ["How long is a refund possible?", "When do you open?"]
    assert found.texts == ["Within 30 days.", "Ask the desk.", "We open at nine."]
    assert found.relevant == [{0, 1}, {2}] and found.grades == [{0: 2, 1: 0.5}, {2: 1}]
    assert found.labels == ["shop", "", "hours"] and found.query_labels == ["shop", "hours"]
    assert found.columns == {"source": ["x", "z"]}
    assert found.names == [f"mine{suffix}#{row}" for row in (1, 2, 3)]
    attrs = {name: found.attrs[name] for name in ("name", "rows", "used", "stand_in", "has_label", "seed")}
    assert attrs == {"name": f"mine{suffix}", "rows": 3, "used": 3, "stand_in": False, "has_label": True, "seed": 0}
    assert describe(found) == f"2 queries over 3 passages under 3 labels (mine{suffix})."


def test_without_relevance_each_row_is_an_answer(tmp_path: Path) -> None:
    found = load_passages(table(tmp_path / "mine.csv", without=("relevance", "label", "source")))
    assert found.relevant == [{0, 1, 2}, {2}] and found.grades == [{0: 1, 1: 1, 2: 1}, {2: 1}]
    assert found.labels == ["", "", ""] and not found.attrs["has_label"] and found.columns == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": " "}, "row 4, column 'query': the text is empty"),
        ({"text": ""}, "row 4, column 'text': the text is empty"),
        ({"relevance": "good"}, "row 4, column 'relevance': expected a finite number, got 'good'"),
        ({"relevance": -1}, "row 4, column 'relevance': expected 0 or more, got -1"),
        ({"relevance": 0}, "row 4, column 'query': no text is relevant to 'When do you open?'"),
        ({"query": ROWS[0]["query"]}, "row 4, column 'relevance': another than further up"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = table(tmp_path / "mine.csv", [*ROWS[:3], ROWS[3] | change])
    with pytest.raises(ValueError, match=f"^mine.csv: {message.replace('?', '.')}"):
        load_passages(path)


def test_a_table_that_ranks_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine.csv: no column 'query'; it has \['text'"):
        load_passages(table(tmp_path / "mine.csv", without=("query",)))
    with pytest.raises(ValueError, match=r"mine.csv: expected at least 2 rows, got 1"):
        load_passages(table(tmp_path / "mine.csv", ROWS[:1]))
    with pytest.raises(ValueError, match=r"mine.csv: expected at least 2 different texts, got 1"):
        load_passages(table(tmp_path / "mine.csv", [ROWS[0], ROWS[0]]))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_passages(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="a name without suffix"):
        load_passages(tmp_path / "nowhere")


def test_a_limit_takes_queries_with_all_that_answers_them(tmp_path: Path) -> None:
    rows = [{"query": f"query {n // 3}", "text": f"text {n}"} for n in range(300)]
    path = table(tmp_path / "mine.csv", [*rows, *({"query": "query 0", "text": f"text {n}"} for n in range(10, 60))])
    drawn = load_passages(path, limit=20, seed=1)
    assert len(drawn.texts) == 20 and len(drawn.queries) == 6, "six times three answers, then others to fill the pool"
    assert all(len(relevant) == 3 and max(relevant) < 20 for relevant in drawn.relevant)
    for query, relevant in zip(drawn.queries, drawn.relevant, strict=True):
        number = int(query.split()[1])
        assert {drawn.texts[one] for one in relevant} == {f"text {n}" for n in range(3 * number, 3 * number + 3)}
    assert drawn == load_passages(path, limit=20, seed=1) and drawn.queries != load_passages(path, limit=20).queries
    assert (drawn.attrs["rows"], drawn.attrs["used"]) == (300, 20)
    assert describe(drawn) == "6 queries over 20 passages (mine.csv), drawn with seed 1 from 300."
    for limit, message in ((1, "limit: expected at least 2, got 1"), (2, "limit: 2 passages do not hold all 3")):
        with pytest.raises(ValueError, match=message):
            load_passages(path, limit=limit)


# ------------------------------------------------------------------------------------------------ a folder

GUIDE = """---
title: not a heading
---
Before *any* heading, un*believ*able &amp; [linked](https://example.org).

# Install

Run `make`<br>once.

- a point
- **another**

```
# not a heading
```

## Usage

> quoted

| a | b |
|---|---|
| 1 | 2 |

Setext
======

Its text.

## Nothing below

# Usage
Of another kind.
"""
REST = """=====
Title
=====

See :func:`~a.b` and ``x``.

.. note::

   Left out.

Usage
-----

How it is used.

Deeper
~~~~~~

At the bottom.

Next
----

Once more.
"""


def test_headings_are_the_queries_for_what_stands_below(tmp_path: Path) -> None:
    found = load_passages(
        folder(tmp_path / "docs", guide__start_md=GUIDE, guide__deep__rest_rst=REST, a_note_txt="Only text.")
    )
    assert dict(zip(found.queries, found.texts, strict=True)) == {
        "a note": "Only text.",
        "start": "Before any heading, unbelievable & linked.",
        "Install": "Run make once. a point another",
        "Install: Usage": "quoted a b 1 2",
        "Setext": "Its text.",
        "Usage": "Of another kind.",
        "Title": "See b and x.",
        "Title: Usage": "How it is used.",
        "Deeper": "At the bottom.",
        "Next": "Once more.",
    }
    assert found.relevant == [{number} for number in range(10)]
    names = dict(zip(found.queries, found.names, strict=True))
    assert names["Install: Usage"] == "guide/start.md#Usage" and names["Deeper"] == "guide/deep/rest.rst#Deeper"
    assert set(found.labels) == {"guide", "a_note.txt"} and found.labels == found.query_labels
    assert found.attrs["name"] == "docs" and found.attrs["rows"] == 10 and not found.attrs["stand_in"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("One line.\n\n    An indented one.\n\tLast.\n", {"a": "One line. An indented one. Last."}),
        ("If a<b and c>d then\n<div>x</div> &amp;\n", {"a": "If a<b and c>d then <div>x</div> &amp;"}),
        ("---\nChapter one\n---\nand two\n", {"a": "Chapter one and two"}),
        ("__init__, snake_case and *args\n[1]: a paper\n", {"a": "__init__, snake_case and *args [1]: a paper"}),
        ("A sentence ends\nhere\n---\nand another\n", {"a": "A sentence ends here and another"}),
        ("Title\n=====\nfirst\n\nBelow\n-----\nsecond\n### Third\nmore\n",
         {"Title": "first", "Below": "second", "Third": "more"}),
    ],
)  # fmt: skip
def test_plain_text_has_no_marks_but_those_of_headings(tmp_path: Path, content: str, expected: dict[str, str]) -> None:
    found = load_passages(folder(tmp_path, a_txt=content, other_txt="Other."))
    assert dict(zip(found.queries, found.texts, strict=True)) == expected | {"other": "Other."}


def test_of_html_in_markdown_the_tags_go_and_the_words_stay(tmp_path: Path) -> None:
    html = (
        "<details>\n<summary>Important</summary>\n1 &lt; 2\n</details>\n\n<!-- a\nnote -->\n\n<style>\np {}\n</style>\n"
    )
    found = load_passages(folder(tmp_path, a_md=f"# One\n\n{html}\nAfter.\n", b_md="# Two\n\ntext\n"))
    assert found.texts == ["Important 1 < 2 After.", "text"]


def test_a_section_is_cut_at_two_hundred_words_and_repeated_titles_stand_once(tmp_path: Path) -> None:
    long = "# Long\n\n" + "word " * 500 + "\n\n# Twice\n\nfirst\n\n# Twice\n\nsecond\n"
    found = load_passages(folder(tmp_path, a_md=long))
    assert found.queries == ["Long", "Twice"] and found.texts == ["word " * 199 + "word", "first"]


def test_hidden_files_other_files_and_links_that_lead_out_are_not_read(tmp_path: Path) -> None:
    place = folder(tmp_path / "docs", a_md="# One\n\ntext\n\n# Two\n\nmore\n", b_py="# Code\n\ncode")
    outside = folder(tmp_path / "outside", c_md="# Secret\n\ntext")
    (place / ".hidden.md").write_text("# Hidden\n\ntext")
    (place / ".git").mkdir()
    (place / ".git" / "d.md").write_text("# Hidden, too\n\ntext")
    (place / "link.md").symlink_to(outside / "c.md")
    (place / "linked").symlink_to(outside)
    (place / "broken.md").symlink_to(tmp_path / "nowhere.md")
    assert load_passages(place).queries == ["One", "Two"]


def test_a_folder_without_enough_sections_or_in_another_encoding_is_refused(tmp_path: Path) -> None:
    for files in ({}, {"a_md": "# One\n\ntext\n\n# Empty"}):
        with pytest.raises(
            ValueError, match=r"expected at least 2 sections with text in its .md, .rst, .txt files, got"
        ):
            load_passages(folder(tmp_path / f"docs{len(files)}", keep_py="", **files))
    (tmp_path / "docs1" / "b.md").write_bytes(b"# Caf\xe9\n\ntext")
    with pytest.raises(ValueError, match=r"^b.md: expected UTF-8 text; byte 6 is not"):
        load_passages(tmp_path / "docs1")


def test_the_order_of_a_folder_does_not_depend_on_the_disk(tmp_path: Path) -> None:
    names = [f"{letter}_md" for letter in "cab"]
    one = load_passages(folder(tmp_path / "docs", **{name: f"# {name}\n\ntext {name}" for name in names}))
    other = load_passages(
        folder(tmp_path / "x" / "docs", **{name: f"# {name}\n\ntext {name}" for name in sorted(names)})
    )
    assert one == other and one.queries == ["a_md", "b_md", "c_md"]


# ------------------------------------------------------------------------------------------------ built-in


def test_documentation_stands_in_where_no_passages_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Passages(["q"], ["t", "u"], [{0}], [{0: 2.0}], ["a", "b"], ["a"], ["m.t", "m.u"], {}, {
        "name": "documentation", "rows": 2, "used": 2, "stand_in": False, "has_label": True, "seed": 0})  # fmt: skip
    asked: list[object] = []
    monkeypatch.setattr(corpora, "documentation", lambda *arguments: asked.append(arguments) or small)
    assert describe(load_passages()) == "1 queries over 2 passages under 2 labels (documentation)."
    stand_in = load_passages("none", limit=7, seed=2)
    assert stand_in.attrs["stand_in"] and asked == [(None, 0), (7, 2)]
    assert not load_passages().attrs["stand_in"], "what stood in before has left no trace"
    assert describe(stand_in).startswith("**No passages given**: shown on 1 queries over 2 passages")
