"""How many tokens a text has: by a tokenizer, or estimated in the same way for every language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sear_core.errors import InputError


def estimated_tokens(text: str) -> int:
    """Four bytes of UTF-8 a token, rounded up: a rule of thumb for byte-level BPE, in any script (our choice)."""
    return (len(text.encode()) + 3) // 4


def token_counter(tokenizer: str | None) -> Callable[[str], int]:
    """What counts tokens: the tokenizer of a local model's folder (or its tokenizer.json), else an estimate.

    Raises InputError where it is missing or unreadable. Nothing is downloaded.
    """
    if tokenizer is None:
        return estimated_tokens
    path = Path(tokenizer).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"data.tokenizer = {tokenizer!r}: no {path}; expected a local folder with tokenizer.json"
        )
    from tokenizers import Tokenizer

    try:
        own = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare ones
        raise InputError(f"{path}: not a tokenizer: {str(error)[:200]}") from None
    return lambda text: len(own.encode(text, add_special_tokens=False).ids)
