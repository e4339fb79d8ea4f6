"""Is a path a model directory? Read without transformers, so that a call can be refused at once."""

from __future__ import annotations

from pathlib import Path

from sear_core.errors import InputError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def check_model_directory(path: str) -> None:
    """Raise InputError where `path` is a directory that is no model directory, or a path to nothing.

    A name such as `owner/model` that is no local directory is taken for a hub name and not checked.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        if folder.is_absolute() or path.startswith((".", "~")) or len(folder.parts) > 2:
            raise InputError(f"{path}: no such model directory")
        return
    if not folder.is_dir():
        raise InputError(f"{path}: is a file; expected a model directory")
    names = {entry.name for entry in folder.iterdir()}
    if "config.json" not in names:
        raise InputError(f"{path}: no config.json; expected a model directory of transformers")
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{path}: no *.safetensors file; expected weights as safetensors (no pickles are loaded)"
        )
    if not names.intersection(_TOKENIZER_FILES):
        raise InputError(f"{path}: no tokenizer; expected one of {', '.join(_TOKENIZER_FILES)}")
