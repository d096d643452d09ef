"""What a page shows of a notebook's cells: plain HTML that asks the network for nothing and names no absolute path."""

from __future__ import annotations

import base64
import posixpath
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from bleach.css_sanitizer import CSSSanitizer
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner
from markupsafe import Markup

WIDGET = "application/vnd.jupyter.widget-view+json"
_TEXT = "a abbr b blockquote br code del details div em h1 h2 h3 h4 h5 h6 hr i img kbd mark p pre q s samp small span"
_TABLES = "caption col colgroup dd dl dt li ol strong sub summary sup table tbody td tfoot th thead tr u ul var"
_TAGS = {*_TEXT.split(), *_TABLES.split()}
_ATTRIBUTES = {
    "*": ["class", "title", "style", "role", "aria-label", "aria-hidden", "colspan", "rowspan", "scope", "span"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "h2": ["id"],
    "h3": ["id"],
}


def shown(
    notebook: nbformat.NotebookNode,
    pages: Mapping[str, str],
    place: str = "",
    hide: Callable[[str], str] = str,
    repeated: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """For each cell that a page shows: number, kind ("text" or "code"), content, outputs, injected.

    pages: the page of each notebook, by its path in the series; links to others lead nowhere. place: the notebook's own
    folder in the series. hide: takes absolute paths out. repeated: outputs that the page says in its own words.
    """
    cells = []
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        if any(tag.startswith("papermill-error") for tag in tags) or not cell.source.strip():
            continue
        one: dict[str, Any] = {"number": number, "outputs": [], "injected": "injected-parameters" in tags}
        if cell.cell_type == "markdown":
            one |= {"kind": "text", "content": _clean(_markdown(hide(cell.source)), pages, place)}
        elif cell.cell_type == "code":
            one |= {"kind": "code", "content": _highlighted(hide(cell.source))}
            for output in cell.get("outputs", []):
                if output.get("data", {}).get("text/plain") not in repeated:
                    one["outputs"].append(_output(output, hide, pages, place))
        else:
            continue
        cells.append(one)
    return cells


def figure_of(output: nbformat.NotebookNode, hide: Callable[[str], str] = str) -> dict[str, str] | None:
    """The picture of an output, if it has one: source, alt. An SVG as an image, in which no script runs."""
    data, metadata = output.get("data", {}), output.get("metadata", {})
    kind = next((kind for kind in ("image/svg+xml", "image/png", "image/jpeg") if kind in data), None)
    if kind is None:
        return None
    content = "".join(data[kind])
    if kind == "image/svg+xml":
        content = base64.b64encode(hide(content).encode()).decode()
    told, text = metadata.get(kind, {}).get("alt"), data.get("text/plain", "")
    alt = told or ("" if text.startswith(("<Figure", "<IPython")) else text) or "a figure without a description"
    return {"source": f"data:{kind};base64,{''.join(content.split())}", "alt": str(alt)}


def _output(output: nbformat.NotebookNode, hide: Callable[[str], str], pages: Mapping[str, str], place: str) -> Markup:
    if output.output_type == "stream":
        return Markup("<pre>{}</pre>").format(_plain(hide(output.text)))
    if output.output_type == "error":
        return Markup('<pre class="error">{}</pre>').format(_plain(hide(f"{output.ename}: {output.evalue}")))
    data = output.get("data", {})
    if "text/html" in data:
        return _clean(hide("".join(data["text/html"])), pages, place)
    if figure := figure_of(output, hide):
        return Markup('<figure><img src="{source}" alt="{alt}"></figure>').format(**figure)
    if "text/markdown" in data:
        return _clean(_markdown(hide(data["text/markdown"])), pages, place)
    text = "" if WIDGET in data else data.get("text/plain", "")
    return Markup("<pre>{}</pre>").format(_plain(hide(text))) if text else Markup("")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip("\n")


def _markdown(source: str) -> str:
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    text: str = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True)).render(source)
    return text


def _highlighted(source: str) -> Markup:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))


class _Links(Filter):  # type: ignore[misc]
    """Links on pages that are there, pictures that lie inside; of others their words."""

    pages: Mapping[str, str]
    place: str

    def __iter__(self) -> Iterator[dict[str, Any]]:
        source, target = (None, "src"), (None, "href")
        for token in super().__iter__():
            data = token.get("data", {})
            if token.get("name") == "img" and not str(data.get(source, "")).startswith("data:image/"):
                yield {"type": "Characters", "data": f"[{data.get((None, 'alt')) or 'picture'}]"}
                continue
            if token.get("name") == "a" and isinstance(data, dict) and target in data:
                found = self._found(data.pop(target))
                data |= {target: found} if found else {}
            yield token

    def _found(self, address: str) -> str:
        if re.match(r"(https?|mailto):|#", address):
            return address
        path, _, anchor = address.partition("#")
        page = self.pages.get(posixpath.normpath(posixpath.join(self.place, path)), "")
        return f"{page}#{anchor}" if page and anchor else page


def _clean(text: str, pages: Mapping[str, str], place: str) -> Markup:
    """HTML by an allow list: nothing that would be fetched or run."""
    text = re.sub(r"<(script|style|iframe|object)\b.*?</\1\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    links = type("Links", (_Links,), {"pages": pages, "place": place})
    cleaner = Cleaner(
        _TAGS, _ATTRIBUTES, {"http", "https", "mailto", "data"}, strip=True, filters=[links],
        css_sanitizer=CSSSanitizer(),
    )  # fmt: skip
    return Markup(cleaner.clean(text))


# --- Paths ------------------------------------------------------------------------------------------------------------


def path_hider(sources: Iterable[str], folders: Iterable[str]) -> Callable[[str], str]:
    """A function that leaves of each absolute path its last part.

    sources: what the reader gave, which may hold any character. folders: others that the run used.
    """
    given = sorted((source for source in sources if Path(source).is_absolute()), key=len, reverse=True)
    roots = {str(Path.home()), tempfile.gettempdir(), sys.prefix, sys.base_prefix, str(Path.cwd())}
    roots |= {str(Path(__file__).parents[2])} | {str(Path(source).parent) for source in given} | set(folders)
    named = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True) if len(root) > 3)
    usual = r"/(?:home|root|tmp|Users|usr|opt|var|mnt|private)(?=/)"
    pattern = re.compile(rf"(?<![\w.<])(?:{named}|{usual})(?:[/\\][\w.@+-]+)*[/\\]?")

    def last(match: re.Match[str]) -> str:
        return Path(match[0].rstrip("/\\")).name or "…"

    def hide(text: str) -> str:
        for source in given:
            text = text.replace(source, Path(source).name)
        # A picture's base64 may hold any letters: it is no text.
        parts = re.split(r"(data:image/[^\"')]*)", text)
        return "".join(part if number % 2 else pattern.sub(last, part) for number, part in enumerate(parts))

    return hide
