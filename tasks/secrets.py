"""No user names or passwords of URLs in what is shown, stored or logged."""

from __future__ import annotations

import re


def without_secrets(text: str) -> str:
    """The text with `://…@` for the user and password of every URL in it."""
    return re.sub(r"://[^/@\s]+@", "://…@", text)
