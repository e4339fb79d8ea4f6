"""Linear models as plain arrays: a file of safetensors, no pickle; the same numbers on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sear_core.errors import InputError


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Arrays and what is to be known of them (JSON values) in one safetensors file, renamed into place."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    metadata = {key: json.dumps(value, sort_keys=True) for key, value in sorted(about.items())}
    save_file({k: np.ascontiguousarray(v) for k, v in sorted(arrays.items())}, temporary, metadata=metadata)
    temporary.chmod(0o644)
    temporary.replace(path)


def load_arrays(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `save_arrays` wrote. Raises InputError: no such file, not safetensors, or another kind of judge."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the weights of a {kind} judge")
    try:
        with safe_open(path, framework="numpy") as file:
            about = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise InputError(f"{path}: not the weights of a judge: {error}") from None
    if about.get("kind") != kind:
        raise InputError(f"{path}: weights of kind {about.get('kind')!r}; expected {kind!r}")
    return arrays, about


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows to probabilities, (n, k)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) without overflow."""
    return 0.5 * (1 + np.tanh(np.asarray(logits) / 2))
