"""What every HTML page of ours is made with: escaping, number formats, one script allowed by its hash.

Everything that comes from a model, a data set or a config is escaped by the templates (autoescape). The page's
content policy lets only its own script run, by hash, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

MAX_TEXT = 4000  # characters of one text in a transcript; our choice
TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, figures: Mapping[str, str], **values: Any) -> str:
    """A page as text; the same values give the same bytes. figures: {name: SVG of our own making}."""
    script = (TEMPLATES / "report.js").read_text("utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            figures={name: Markup(svg) for name, svg in figures.items()},  # noqa: S704 - labels escaped
            style=Markup((TEMPLATES / "report.css").read_text("utf-8")),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def write_page(text: str, path: Path) -> Path:
    """Write under a temporary name, then rename. Lone surrogates (a model may decode to some) become `?`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(text.encode("utf-8", errors="replace"))
    return temporary.rename(path)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(cell=cell, cut=cut, number=number, points=points, share=share, words=words)
    return environment


def share(value: float | None) -> str:
    """A rate in per cent, one decimal; a dash where it could not be measured."""
    return f"{100 * value:.1f}" if value is not None and isfinite(value) else "–"


def points(value: float | None) -> str:
    """A difference of rates in percentage points, signed."""
    return f"{100 * value:+.1f}".replace("-", "−") if value is not None and isfinite(value) else "–"


def number(value: Any) -> str:
    """Any value for a table: floats with four significant digits, whole numbers grouped by thin spaces."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if not isfinite(value):
        return "–"
    return f"{int(value):,}".replace(",", "\u202f") if float(value).is_integer() else f"{value:.4g}"


def cell(value: Any) -> str:
    """A table's cell: as `number`, long hashes cut."""
    text = number(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{32,}(\.dir)?", text) else text


def cut(text: str) -> str:
    """A text for reading, cut where it would make the page unwieldy."""
    rest = len(text) - MAX_TEXT
    return text if rest <= 0 else f"{text[:MAX_TEXT]}… ({number(rest)} more characters)"


def words(name: str) -> str:
    """A name of ours as words: `harmful_prefill@4` reads "harmful prefill, strength 4"."""
    attack, _, strength = str(name).replace("_", " ").partition("@")
    return f"{attack}, strength {strength}" if strength else attack


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a.b': value} of nested dicts; lists are joined, and empty ones are a dash."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found.update(flat(item, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = (
                ", ".join(map(str, item)) or "–" if isinstance(item, list | tuple) else item
            )
    return found
