"""`team graph export`: the idea graph as a file for another program, a paper, or a browser."""

from __future__ import annotations

import html
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from graph.errors import RunError
from graph.run_folder import read_history, write_atomically
from memory.idea_graph import idea_graph, to_json, write_graphml
from memory.records import AXES
from team.plain import plain

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.figure import Figure

    from graph.run_folder import RunConfig, RunFolder
    from memory.history import History

Format = Literal["graphml", "json", "dot", "png", "svg", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)
PRINTABLE = ("json", "dot")
PNG_DPI = 150
LINE_CHARACTERS = 30


def export(folder: RunFolder, out: Path | None, form: Format | None) -> None:
    """Write the idea graph of a run to `out`, or print it where the format is text and `out` is None.

    Raises:
        RunError, JournalError: There is no such run or format, or nothing says where to write.
        OSError: The file cannot be written.
    """
    form = form or _form_of(out)
    if out is None and form not in PRINTABLE:
        raise RunError(f"{form} is not for a terminal: say --out ideas.{form}")
    history, config = read_history(folder), folder.read_config()
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    if form in ("png", "svg"):
        from team.graph_view.picture import graph_picture

        assert out is not None
        write_picture(graph_picture(history, config), out, form)
    elif form == "graphml":
        assert out is not None
        write_graphml(idea_graph(history), out)
    else:
        text = (
            to_json(idea_graph(history))
            if form == "json"
            else to_dot(idea_graph(history))
            if form == "dot"
            else to_html(history, config)
        )
        if out is None:
            print(text)
        else:
            write_atomically(out, text + "\n")
    if out is not None:
        print(f"{len(history.trials)} trials written to {out}", file=sys.stderr)


def write_picture(figure: Figure, out: Path, form: Literal["png", "svg"]) -> None:
    """Write a figure so that the same run gives the same file: text as text, and no date.

    Raises:
        OSError: The file cannot be written.
    """
    from matplotlib import rc_context

    held = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "team"}):
        about = {"Date": None} if form == "svg" else {}
        figure.savefig(held, format=form, dpi=PNG_DPI, bbox_inches="tight", metadata=about)
    half = out.with_name(f"{out.name}.half")
    half.write_bytes(held.getvalue())
    half.replace(out)


def to_dot(graph: nx.DiGraph) -> str:
    """Return the graph in Graphviz's language: `dot -Tpdf ideas.dot`."""
    from team.graph_view.picture import MARKS

    lines = ["digraph ideas {", '  rankdir=LR; node [shape=box, style=rounded, fontname="Helvetica"];']
    for number, held in graph.nodes(data=True):
        score = f"\\n{held['score']:.4f}" if "score" in held else ""
        label = f"{number}  {_dot_text(held['title'])}\\n{_dot_text(held['mode'])} {_dot_text(held['axis'])}, "
        label += f"{held['outcome']}{score}"
        thick = ", penwidth=3" if held["champion"] else ""
        lines.append(f'  {number} [label="{label}", color="{MARKS[held["outcome"]][0]}"{thick}];')
    styles = {"lineage": "solid", "joins": "dashed", "replicates": "dotted"}
    lines += [
        f'  {start} -> {end} [style={styles[kind]}, tooltip="{kind}"];' for start, end, kind in graph.edges(data="kind")
    ]
    return "\n".join([*lines, "}"])


def to_html(history: History, config: RunConfig) -> str:
    """Return one page, Plotly in it, that asks no network: the picture of the idea graph to point at and to zoom."""
    import plotly.graph_objects as go
    import plotly.io

    figure = go.Figure(html_figure(history, config))
    body = plotly.io.to_html(figure, include_plotlyjs=True, full_html=False, config={"displaylogo": False})
    title = html.escape(plain(f"{config.name}: ideas"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"></head><body style="margin:0">{body}</body></html>'
    )


def html_figure(history: History, config: RunConfig) -> dict[str, Any]:
    """Return the idea graph as a Plotly figure (`data`, `layout`), a row a trial as in `graph_picture`."""
    from team.graph_view.layout import lay_out, shown_parent
    from team.graph_view.picture import MARKS

    places = lay_out(history)
    at = {place.number: place for place in places}
    lines: dict[str, list[float | None]] = {"x": [], "y": []}
    for place in places:
        parent = shown_parent(history, place.number, set(at))
        if parent is not None:
            lines["x"] += [at[parent].depth, at[parent].depth, place.depth, None]
            lines["y"] += [at[parent].row, place.row, place.row, None]
    symbols = {
        "*": "star",
        "o": "circle",
        "D": "diamond",
        "s": "square",
        "X": "x",
        "v": "triangle-down",
        "h": "hexagram",
    }
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            **lines,
            "line": {"color": "#b9bec7"},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for outcome, (colour, mark) in MARKS.items():
        group = [place for place in places if history.outcome(place.number) == outcome]
        if group:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "name": outcome,
                    "x": [place.depth for place in group],
                    "y": [place.row for place in group],
                    "text": [f"   {place.number}  {_page_text(_title(history, place.number))}" for place in group],
                    "textposition": "middle right",
                    "hovertext": [_hover(history, place.number) for place in group],
                    "hoverinfo": "text",
                    "marker": {"color": colour, "symbol": symbols[mark], "size": 15 if outcome == "kept" else 10},
                }
            )
    deepest = max((place.depth for place in places), default=0)
    hidden = {"visible": False, "fixedrange": False}
    layout = {
        "title": {"text": _page_text(f"{config.name}: {config.task.title}")},
        "height": 140 + 26 * max(len(places), 4),
        "xaxis": {**hidden, "range": [-0.5, deepest + max(4, deepest)]},
        "yaxis": {**hidden, "range": [len(places), -1]},
        "plot_bgcolor": "white",
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"},
        "hoverlabel": {"align": "left"},
    }
    return {"data": data, "layout": layout}


def _form_of(out: Path | None) -> Format:
    if out is None:
        raise RunError(f"say which format is wanted: --format {', '.join(FORMATS)}")
    for form in FORMATS:
        if out.suffix == f".{form}":
            return form
    raise RunError(f"{out.name} does not end in a format's name: say --format {', '.join(FORMATS)}")


def _title(history: History, number: int) -> str:
    title = history.trials[number].idea.title
    return title if len(title) <= 70 else title[:69] + "…"


def _hover(history: History, number: int) -> str:
    record = history.trials[number]
    idea = record.idea
    axis = f" {idea.axis} {AXES[idea.axis]}" if idea.axis in AXES else ""
    origin = "" if idea.parent is None else f" of {idea.parent}"
    lines = [f"<b>{number}  {_wrapped(idea.title)}</b>", f"{idea.mode}{origin}{axis}: {history.outcome(number)}"]
    if record.score is not None:
        lines.append(f"{record.score.value:.4f} [{record.score.low:.4f}, {record.score.high:.4f}]")
    return "<br>".join([*lines, _wrapped(" ".join(history.reason(number).splitlines()[:1]))])


def _wrapped(text: str) -> str:
    """Return text in lines that fit a hover box, with nothing that a page would obey."""
    words, lines = plain(text).split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= 2 * LINE_CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(_page_text(line) for line in lines[:8])


def _page_text(text: str) -> str:
    """Return text that Plotly, which reads a few tags and MathJax's dollars, shows letter by letter."""
    return html.escape(plain(text)).replace("$", "&#36;")


def _dot_text(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", plain(text))
