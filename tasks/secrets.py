"""No user names or passwords of URLs in what is shown, stored or logged."""

from __future__ import annotations

import re


def public(text: str) -> str:
    """A URL, or a text with URLs in it, without user names and passwords, also such as hold an @."""
    return re.sub(r"//[^/\s]*@", "//", text)
