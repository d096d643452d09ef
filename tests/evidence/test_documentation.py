"""The documentation corpus: what is read of a docstring, what is left out, and that a kept reading is the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stlib.evidence import documentation as module
from stlib.evidence.docstrings import HIDDEN, hide, parse, plain, sentences
from stlib.evidence.documentation import PASSAGE_WORDS, Thing, cleaned, distinct, documentation, is_code
from stlib.evidence.passages import Passages

NUMPY_STYLE = """resample(x, num, t=None,
             axis=0)

    Resample `x` to `num` samples using :func:`~scipy.fft.fft` along
    the given axis. It is **fast**.

    The signal starts at the same value as `x`; see ``np.interp`` and
    `the guide <https://example.org>`_ [1]_.

    .. versionadded:: 1.2
       Since then.

    A formula:

    .. math:: a = b

    It ends::

        x = resample(y)

    Parameters
    ----------
    x : array_like
        The data to be resampled.

    Returns
    -------
    resampled_x : ndarray
        The result.

    See Also
    --------
    decimate : Downsample the signal.
    resample_poly, :func:`scipy.signal.upfirdn`
    numpy.interp
        One-dimensional interpolation.

    Notes
    -----
    * The argument may be complex.
    * It is periodic.

    >>> 1 + 1
    2

    ===== =====
    A     B
    ===== =====

    References
    ----------
    .. [1] Somebody.
    """
GOOGLE_STYLE = """Compute the loss between inputs and targets.

    It is averaged over the batch by default.

    Args:
        inputs (Tensor): The inputs.

            With a blank line.
        targets (Tensor): The targets.

    Example::

        >>> loss(a, b)

    Returns:
        A scalar.
    The text goes on.
    """


def thing(name: str, summary: str, *body: str, key: int = 0, see_also: list[int] | None = None) -> Thing:
    return Thing("package.module", f"package.module.{name}", key, [summary, *body], see_also or [])


# ------------------------------------------------------------------------------------------------ one docstring


def test_prose_is_kept_and_signature_tables_directives_code_and_headings_go() -> None:
    found = parse(NUMPY_STYLE)
    assert [plain(paragraph) for paragraph in found.paragraphs] == [
        "Resample x to num samples using fft along the given axis. It is fast.",
        "The signal starts at the same value as x; see np.interp and the guide [1].",
        "A formula:",
        "It ends:",
        "The argument may be complex. It is periodic.",
    ]
    assert found.see_also == ["decimate", "resample_poly", "scipy.signal.upfirdn", "numpy.interp"]


def test_googles_style_is_read_as_well() -> None:
    assert parse(GOOGLE_STYLE) == (
        [
            "Compute the loss between inputs and targets.",
            "It is averaged over the batch by default.",
            "The text goes on.",
        ],
        [],
    )


@pytest.mark.parametrize(
    "signature",
    ["sin(x, /, out=None, *, where=True)", "a.f(x=(1, (2)))", "add(a: Tensor, b) -> Tensor", "f(x)\nf(x, y)"],
)
def test_a_signature_is_no_summary(signature: str) -> None:
    assert parse(f"{signature}\n\nDo something (to x).").paragraphs == ["Do something (to x)."]
    assert parse(signature).paragraphs == [""]


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ("`~a.b.c` and :class:`!a.b`", "c and a.b"),
        (":ref:`User Guide <guide>`", "User Guide"),
        (r":math:`\alpha + x_1` is *small*", "alpha + x_1 is small"),
        ("x * y * z and *args", "x * y * z and *args"),
        ("|Axes| of `.Figure`", "Axes of Figure"),
        ("two ``x`` *a*, *b* are", "two x a, b are"),
    ],
)
def test_marks_are_reduced_to_words(marked: str, words: str) -> None:
    assert plain(marked) == words


def test_sentences_end_at_a_full_stop_before_a_capital() -> None:
    assert sentences(
        'It is so, e.g. Here, by J. Smith vs. Dr. No. "Quoted." See Fig. One. (Aside.) Then! not here?'
    ) == [
        "It is so, e.g. Here, by J. Smith vs. Dr. No.",
        '"Quoted."',
        "See Fig. One.",
        "(Aside.)",
        "Then! not here?",
    ]


@pytest.mark.parametrize(
    ("text", "everywhere", "hidden"),
    [
        ("`mean` of the mean", False, f"`{HIDDEN}` of the mean"),
        (
            ":func:`~numpy.mean`, np.mean, .mean and mean(x)",
            False,
            f":func:`{HIDDEN}`, {HIDDEN}, {HIDDEN} and {HIDDEN}(x)",
        ),
        ("``mean(x)``, nanmean, means, meaningful", False, f"``{HIDDEN}(x)``, nanmean, means, meaningful"),
        ("the mean", True, f"the {HIDDEN}"),
    ],
)
def test_a_name_is_hidden_where_it_is_meant_as_one(text: str, everywhere: bool, hidden: str) -> None:
    assert hide(text, "mean", everywhere) == hidden


# ------------------------------------------------------------------------------------------------ many of them

BODY = "Here follow some words that no other entry has in this way: {}, for they must be at least twenty five in number, so that the passage is long enough to be taken."  # noqa: E501


def test_a_name_that_is_no_ordinary_word_is_hidden_in_the_body_and_refused_in_the_summary() -> None:
    made = cleaned(
        [
            thing("argsort", "Sort things by index.", BODY.format("argsort sorts")),
            thing("read_csv", "The read_csv reads a file.", BODY.format("a file")),
            thing("mean", "Compute the arithmetic mean.", BODY.format("the mean, by `mean`")),
            *(thing(f"f{n}", f"The mean of kind {n} as such.", BODY.format(n)) for n in range(3)),
        ]
    )
    passages = {entry.thing.own: entry.passage for entry in made}
    assert f"{HIDDEN} sorts" in passages["argsort"] and "read_csv" not in passages
    assert f"the mean, by {HIDDEN}" in passages["mean"], "others speak of the mean, too: it is a word"


def test_sentences_that_stand_under_three_names_are_left_out() -> None:
    common = "See the user guide for it."
    made = cleaned([thing(f"name{n}", f"A summary of kind {n}.", f"{common} {BODY.format(n)}") for n in range(3)])
    assert len(made) == 3 and not any(common in entry.passage for entry in made)
    made = cleaned([thing("same", f"A summary of kind {n}.", f"{common} {BODY.format(n)}") for n in range(3)])
    assert all(common in entry.passage for entry in made), "one name in three classes is one voice"


def test_of_several_sentences_the_first_is_the_query() -> None:
    (made,) = cleaned([thing("f", "Do this to it. Then that happens.", BODY.format("x"))])
    assert made.query == "Do this to it." and made.passage.startswith("Then that happens. Here follow")


@pytest.mark.parametrize(
    ("summary", "body"),
    [("Too short.", BODY), ("It is long enough.", "But this is not."), ("What follows is this:", BODY)],
)
def test_what_says_too_little_is_left_out(summary: str, body: str) -> None:
    assert cleaned([thing("f", summary, body)]) == []


def test_of_equal_queries_and_of_passages_alike_the_first_stays() -> None:
    made = cleaned(
        [
            thing("first", "Do this to it.", BODY.format("one")),
            thing("second", "Do this to it", "Something else altogether. " + BODY.format("two").upper()),
            thing("third", "Do something else.", BODY.format("another") + " And a little more at its end."),
            thing("fourth", "Do a third thing.", " ".join(f"Word{n} other thing." for n in range(30))),
        ]
    )
    assert [entry.thing.own for entry in distinct(made)] == ["first", "fourth"]


# ------------------------------------------------------------------------------------------------ as installed


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STLIB_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def corpus(cache: Path) -> Passages:
    return documentation()


def test_it_holds_some_two_thousand_entries_of_five_packages(corpus: Passages) -> None:
    assert 2000 <= len(corpus.queries) == len(corpus.texts) <= 3000
    packages = {name.split(".")[0] for name in corpus.names}
    assert packages == {"numpy", "scipy", "sklearn", "pandas", "matplotlib"} == set(corpus.attrs["versions"])
    assert corpus.attrs["rows"] == corpus.attrs["used"] == len(corpus.texts)
    assert (corpus.attrs["name"], corpus.attrs["stand_in"]) == ("documentation", False)
    assert all(1 <= label.count(".") + 1 <= 2 for label in corpus.labels) and len(set(corpus.labels)) > 50


def test_no_query_and_no_passage_stands_twice(corpus: Passages) -> None:
    for texts in (corpus.queries, corpus.texts):
        words = [" ".join(re.findall(r"\w+", text.lower())) for text in texts]
        assert len(set(words)) == len(words)


def test_nothing_quotes_its_own_name(corpus: Passages) -> None:
    for name, query, text in zip(corpus.names, corpus.queries, corpus.texts, strict=True):
        own = re.escape(name.rsplit(".", 1)[-1])
        quoted = rf"(?<![\w.]){own}\(|\.{own}(?!\w)" + (rf"|(?<!\w){own}(?!\w)" if is_code(own) else "")
        assert not re.search(quoted, text), name
        assert not is_code(own) or not re.search(rf"(?<!\w){own}(?!\w)", query), name


def test_what_is_left_is_prose(corpus: Passages) -> None:
    for name, query, text in zip(corpus.names, corpus.queries, corpus.texts, strict=True):
        assert len(text.split()) <= PASSAGE_WORDS[1], name
        assert len(re.findall(r"[A-Za-z]{2,}", text)) >= PASSAGE_WORDS[0], name
        assert not re.search(r">>>|:[a-z]+:`|``|\.\. [a-z]+::|----|\n", f"{query} {text}"), name
        assert not re.match(r"[\w.]+\(.*=.*\)$", query), name


def test_compiled_functions_methods_and_known_functions_are_there(corpus: Passages) -> None:
    expected = {
        "numpy.sin": "numpy",
        "pandas.Timestamp.day_name": "pandas",
        "pandas.wide_to_long": "pandas",
        "scipy.special.erfcinv": "scipy.special",
        "scipy.sparse.linalg.gmres": "scipy.sparse",
        "sklearn.linear_model.Ridge": "sklearn.linear_model",
    }
    labels = dict(zip(corpus.names, corpus.labels, strict=True))
    assert {name: labels.get(name) for name in expected} == expected


def test_the_own_passage_is_relevant_and_see_also_is_a_grade_below(corpus: Passages) -> None:
    assert corpus.relevant == [{number} for number in range(len(corpus.texts))]
    assert all(grades[number] == 2 and set(grades.values()) <= {1, 2} for number, grades in enumerate(corpus.grades))
    assert sum(len(grades) > 1 for grades in corpus.grades) > 800
    place = {name: number for number, name in enumerate(corpus.names)}
    assert place["numpy.dot"] in corpus.grades[place["numpy.vdot"]]


def test_a_limit_draws_queries_and_pool_by_seed_and_keeps_the_links_inside(corpus: Passages) -> None:
    drawn = documentation(500, seed=3)
    assert len(drawn.queries) == len(drawn.texts) == 500 == drawn.attrs["used"]
    assert drawn.attrs["rows"] == len(corpus.texts) and drawn.attrs["sha256"] == corpus.attrs["sha256"]
    assert drawn == documentation(500, seed=3) and drawn.names != documentation(500, seed=4).names
    place = {name: number for number, name in enumerate(corpus.names)}
    for number, name in enumerate(drawn.names):
        whole = {corpus.names[other]: grade for other, grade in corpus.grades[place[name]].items()}
        inside = {drawn.names[other]: grade for other, grade in drawn.grades[number].items()}
        assert inside == {other: grade for other, grade in whole.items() if other in set(drawn.names)}
        assert drawn.queries[number] == corpus.queries[place[name]]


def test_a_kept_reading_is_read_back_and_a_damaged_one_made_again(
    corpus: Passages, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = cache.glob("documentation-*.json")
    calls: list[object] = []
    read = module.entries
    monkeypatch.setattr(module, "entries", lambda packages: calls.append(packages) or read(packages))
    assert documentation() == corpus and calls == []
    content = file.read_text()
    for damaged in (content[: len(content) // 2], content.replace("array", "arrow", 1), "[]", ""):
        file.write_text(damaged)
        monkeypatch.setattr(module, "entries", lambda packages: calls.append(packages) or [])
        documentation()
        assert len(calls) == 1 and calls.pop() and json.loads(file.read_text())["queries"] == []
    file.write_text(content)
    assert [one.name for one in cache.iterdir()] == [file.name]


def test_another_version_is_read_anew(corpus: Passages, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(cache.iterdir())
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    monkeypatch.setattr(module, "entries", lambda packages: [])
    assert documentation().queries == []
    (made,) = set(cache.iterdir()) - before
    made.unlink()


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(module, "entries", lambda packages: [])
    assert documentation().queries == []


def test_another_process_reads_the_same(cache: Path) -> None:
    script = "from stlib.evidence.documentation import documentation; print(documentation(packages=['numpy']).attrs)"
    here = documentation(packages=["numpy"]).attrs
    environment = {**os.environ, "STLIB_CACHE": str(cache / "other"), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here) and here["name"] == "documentation of numpy"


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        documentation(packages=["no_such_package"])


# ------------------------------------------------------------------------------------------------ the datasheet

ROOT = Path(__file__).resolve().parents[2]
SHEET = ROOT / "stlib" / "evidence" / "data" / "DOCUMENTATION.md"
MEASURED = json.loads((ROOT / "results" / "documentation.json").read_text(encoding="utf-8"))


def test_the_figures_of_the_datasheet_are_those_that_were_measured() -> None:
    rows = [line.strip("| \n").split(" | ") for line in SHEET.read_text(encoding="utf-8").splitlines() if " [" in line]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    columns = ("recall@10", "recall@1", "nDCG@10", "five neighbours by module", "see also")
    shown = {
        name: [f"{one['value']} {one['interval']}" for one in map(scores.get, columns) if one]
        for name, scores in MEASURED["whole"].items()
    }
    assert {name: [cell for cell in cells if cell.strip("| ")] for name, cells in table.items()} == shown


def test_the_counts_of_the_datasheet_are_those_that_were_measured() -> None:
    text, counts = SHEET.read_text(encoding="utf-8"), MEASURED["counts"]
    said = {int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*\b", text)}
    found = [value for value in counts.values() if isinstance(value, int)] + list(counts["by package"].values())
    assert set(found) <= said
    for version in MEASURED["corpus"]["versions"].values():
        assert version in text


def test_the_corpus_of_the_locked_versions_is_the_one_that_was_measured(corpus: Passages) -> None:
    if corpus.attrs["versions"] != MEASURED["corpus"]["versions"]:
        pytest.skip("other versions are installed than those of the record")
    assert corpus.attrs["sha256"] == MEASURED["corpus"]["sha256"]
