"""What a page shows of a notebook's cells: plain HTML that asks the network for nothing and names no absolute path."""

from __future__ import annotations

import base64
import html
import posixpath
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup

WIDGET = "application/vnd.jupyter.widget-view+json"
# What outputs may hold, of which the reader's own texts are part: no heading, picture or look that could pass for ours.
_TEXT = "a abbr b blockquote br code del div em i kbd mark p pre q s samp small span strong sub sup u var"
_LISTS = "caption col colgroup dd dl dt li ol table tbody td tfoot th thead tr ul"
_TAGS = {*_TEXT.split(), *_LISTS.split()}
_WRITTEN = {*_TAGS, "details", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "summary"}  # what a lesson's text may
_FOREIGN = "audio canvas embed iframe math noembed noframes noscript object option plaintext script select style svg"
_WITH_CONTENT = {*_FOREIGN.split(), "template", "textarea", "title", "video", "xmp"}  # of which the words go as well
_CELLS = {"colspan", "rowspan", "scope", "style"}
_ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),  # else nh3 allows two everywhere
    "a": {"href"},
    "abbr": {"title"},
    "tr": {"style"},
    "td": _CELLS,
    "th": _CELLS,
    "img": {"src", "alt", "width"},
    "h2": {"id"},
    "h3": {"id"},
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
            one |= {"kind": "text", "content": _clean(_markdown(hide(cell.source)), pages, place, written=True)}
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


def _clean(text: str, pages: Mapping[str, str], place: str, written: bool = False) -> Markup:
    """HTML by an allow list: nothing that would be fetched or run, nor move what is around it.

    written: by the lesson's author, and no output, which may hold any text. Links lead to pages that are there; of
    pictures that do not lie inside there are the words.
    """

    def linked(tag: str, attribute: str, value: str) -> str | None:
        if (tag, attribute) != ("a", "href"):
            return _inside(tag, attribute, value)
        if re.match(r"(https?|mailto):|#", value):
            return value
        path, _, anchor = value.partition("#")
        page = pages.get(posixpath.normpath(posixpath.join(place, path)), "")
        return (f"{page}#{anchor}" if anchor else page) if page else None

    def in_words(picture: re.Match[str]) -> str:
        told = re.search(r' alt="([^"]*)"', picture[0])
        words = html.escape(html.unescape(told[1])) if told else ""
        return picture[0] if written and ' src="' in picture[0] else f"[{words or 'picture'}]"

    once = _cleaned(text, _WRITTEN, linked)
    # Cleaned again, so that whatever the replacing has made of it is safe.
    once = re.sub(r'<img(?: [\w-]+="[^"]*")*>', in_words, once)
    return Markup(_cleaned(once, _WRITTEN if written else _TAGS, _inside))


def _inside(tag: str, attribute: str, value: str) -> str | None:
    if (tag, attribute) == ("a", "href") and value.lower().startswith("data:"):
        return None
    return value if attribute != "src" or value.startswith("data:image/") else None


def _cleaned(text: str, tags: set[str], attribute_filter: Callable[[str, str, str], str | None]) -> str:
    import nh3
    from pygments.token import STANDARD_TYPES

    coloured = {"span": {*STANDARD_TYPES.values()} - {""}, "div": {"highlight"}} if "h2" in tags else {}
    return nh3.clean(
        text, tags=tags, clean_content_tags=_WITH_CONTENT, attributes=_ATTRIBUTES, attribute_filter=attribute_filter,
        allowed_classes={"table": {"dataframe"}, **coloured}, filter_style_properties={"text-align"},
        url_schemes={"http", "https", "mailto", "data"}, link_rel=None,
    )  # fmt: skip


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
