"""Averages of weights: over the updates of one run (exponential), and over the final models of several runs.

Both are optional levers against fragile dynamics (our choice); an average of runs needs a common warm start, for
weights of unrelated runs have no mean that means anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sear_core.errors import InputError


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """{name: parameter} of what is trained; tied weights once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def load_trainable(model: nn.Module, path: Path) -> None:
    """Overwrite the trained parameters, in place, with those that `save_trainable` wrote."""
    saved = load_file(path)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(saved[name])


def save_trainable(model: nn.Module, path: Path) -> None:
    """Write the trained parameters as safetensors, under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    save_file({name: p.detach().cpu().contiguous() for name, p in trainable(model).items()}, temporary)
    temporary.replace(path)


class WeightAverage:
    """w̄ ← d · w̄ + (1 - d) · w after every update, in float32, beginning at the weights before training."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone().float() for name, p in trainable(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for name, parameter in trainable(model).items():
            self.weights[name].lerp_(parameter.detach().float(), 1.0 - self.decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the average for weights; its own are put back afterwards."""
        own = {name: p.detach().clone() for name, p in trainable(model).items()}
        self.copy_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in trainable(model).items():
                    parameter.copy_(own[name])

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        for name, parameter in trainable(model).items():
            parameter.copy_(self.weights[name])

    def save(self, path: Path) -> None:
        save_file({name: value.cpu().contiguous() for name, value in self.weights.items()}, path)

    def load(self, path: Path) -> None:
        for name, value in load_file(path).items():
            self.weights[name].copy_(value)


def average_models(paths: Sequence[Path], out: Path) -> Path:
    """A model directory whose weights are the mean of those at `paths`; all else is the first one's.

    Written under a temporary name, then renamed; `out` must not exist. Means are taken in float32 and saved in the
    models' own precision. Raises InputError where nothing is given, a directory has no safetensors, or tensors differ
    in names or shapes.
    """
    paths, out = [Path(path) for path in paths], Path(out)
    if not paths:
        raise InputError("average_models: no model directory given")
    if out.exists():
        raise InputError(f"{out}: exists already; expected a new directory")
    files = [_weight_files(path) for path in paths]
    first = files[0]
    for path, other in zip(paths, files, strict=True):
        if other.keys() != first.keys():
            odd = sorted(set(other) ^ set(first))[0]
            raise InputError(
                f"{path}: tensor {odd!r} is not in all of the models; expected the same architecture"
            )
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for file in paths[0].iterdir():
        if file.is_file() and not file.name.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copy2(file, temporary / file.name)
    mean = {name: _mean(name, paths, files) for name in first}
    save_file(mean, temporary / "model.safetensors", metadata={"format": "pt"})
    temporary.rename(out)
    return out


def _weight_files(path: Path) -> dict[str, Path]:
    """{tensor name: the file that holds it}."""
    found: dict[str, Path] = {}
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found.update(dict.fromkeys(tensors.keys(), file))
    if not found:
        raise InputError(f"{path}: no *.safetensors in it; expected a model directory")
    return found


def _mean(name: str, paths: Sequence[Path], files: Sequence[dict[str, Path]]) -> Tensor:
    total: Tensor | None = None
    for path, file in zip(paths, files, strict=True):
        with safe_open(file[name], framework="pt") as tensors:
            value = tensors.get_tensor(name)
        if total is None:
            total, dtype = value.double(), value.dtype
        elif value.shape != total.shape:
            raise InputError(f"{path}: {name} has shape {tuple(value.shape)}, expected {tuple(total.shape)}")
        else:
            total += value.double()
    assert total is not None
    return (total / len(paths)).to(dtype)
