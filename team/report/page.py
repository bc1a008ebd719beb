"""The HTML of a report: one file that holds its data, its code and Plotly, and may not connect to anything.

Data is embedded as JSON that cannot end its own element, and the page's code sets it as text. Beyond that the policy
of the page lets only the two scripts run whose hashes it names, so that markup which got in would still do nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def report_html(payload: dict[str, Any]) -> str:
    """Return the report as one self-contained HTML document."""
    scripts = (plotly_js(), asset("report.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(_hash(script) for script in scripts)}",
            "style-src 'unsafe-inline'",  # Plotly places what it draws by inline style
            "img-src data: blob:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    head = payload["header"]
    champion = head["champion_score"]
    summary = f"{head['trained']} trials; " + (
        "no champion yet."
        if champion is None
        else f"champion: trial {head['champion']}, {head['metric']} {champion:.4f}."
    )
    return fill_page(
        title=f"{payload['name']}: {payload['title']}",
        summary=summary,
        csp=f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        style=f"<style>{asset('report.css')}</style>",
        scripts=f'<script type="application/json" id="payload">{json_for_html(payload)}</script>\n'
        + "\n".join(f"<script>{script}</script>" for script in scripts),
    )


def fill_page(*, title: str, summary: str, csp: str, style: str, scripts: str, body: str = "") -> str:
    """Return the page; title and summary are escaped here, the others are markup."""
    page = asset("page.html")
    parts = {
        "csp": csp,
        "title": html.escape(title),
        "summary": html.escape(summary),
        "style": style,
        "body": body,
        "scripts": scripts,
    }
    before, *rest = page.split("{{")
    return before + "".join(parts[name] + after for name, _, after in (piece.partition("}}") for piece in rest))


def json_for_html(value: Any) -> str:
    """Return JSON without a character that HTML would take for markup.

    Raises:
        ValueError: A number is not finite, which JSON cannot hold.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()


@functools.cache
def asset(name: str, package: str = "team.report") -> str:
    """Return one of the page's own files."""
    return files(package).joinpath("assets", name).read_text(encoding="utf-8")


@functools.cache
def plotly_js() -> str:
    """Return Plotly's code as its package ships it."""
    import plotly

    return (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=8)
def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
