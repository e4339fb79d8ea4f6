"""The registered model: an MLflow pyfunc written models-from-code, a safetensors directory as its artifact.

No pickle anywhere: the directory holds a copy of `tasks/pyfunc_model.py`, which MLflow executes on loading,
the model directory, and MLflow's own YAML and text files. Loading needs this project installed. What it gives
out is the answer alone; a completion that cannot be taken apart safely gives an empty answer, never its
reasoning.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from sear_core.errors import InputError

CODE = Path(__file__).with_name("pyfunc_model.py")
MAX_NEW_TOKENS = 256
REQUIREMENTS = ("mlflow", "torch", "transformers", "safetensors", "pyarrow")  # fixed: MLflow infers nothing


class Answered(TypedDict):
    """One answer. `reasoning` is empty unless asked for; not well formed: the answer is empty."""

    prompt: str
    answer: str
    reasoning: str
    well_formed: bool


class Answerer:
    """A loaded model that answers prompts greedily, in the format that it was trained in (chat_format)."""

    def __init__(
        self,
        model_dir: str | Path,
        device: str | None = None,
        dtype: str = "float32",
        trust_remote_code: bool = False,
    ) -> None:
        import torch

        from sear_core.loading import load_causal_lm, load_tokenizer

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        own: dict[str, Any] = {"trust_remote_code": trust_remote_code}
        self.tokenizer = load_tokenizer(str(model_dir), **own)
        model: Any = load_causal_lm(str(model_dir), dtype=dtype, **own)
        self.model = model.to(device).eval()

    def __call__(
        self,
        prompts: Sequence[str],
        show_reasoning: bool = False,
        max_new_tokens: int = MAX_NEW_TOKENS,
        batch_size: int = 16,
    ) -> list[Answered]:
        """Answers in the prompts' order. Raises InputError for a prompt that is no text, or is blank."""
        from sear_core.chat_format import render_prompt
        from sear_core.evaluation.generation import Request, generate_batch
        from sear_core.policy.segments import parse_completion

        for row, prompt in enumerate(prompts):
            if not isinstance(prompt, str) or not prompt.strip():
                raise InputError(f"row {row}: the prompt is {prompt!r}; expected a text that is not blank")
        answered: list[Answered] = []
        for first in range(0, len(prompts), batch_size):
            batch = prompts[first : first + batch_size]
            requests = [
                Request(str(first + place), render_prompt(self.tokenizer, prompt))
                for place, prompt in enumerate(batch)
            ]
            written = generate_batch(
                self.model, self.tokenizer, requests, max_new_tokens=max_new_tokens, temperature=0.0
            )
            for prompt, generated in zip(batch, written, strict=True):
                completion = parse_completion(generated.text, generated.ended)
                # An answer that was cut off, or that opens another think block, is not given out.
                answered.append(Answered(
                    prompt=prompt, answer=completion.answer if completion.well_formed else "",
                    reasoning=completion.reasoning.strip() if show_reasoning else "",
                    well_formed=completion.well_formed,
                ))  # fmt: skip
        return answered


def answer(
    model_dir: Path,
    prompts: Sequence[str],
    show_reasoning: bool = False,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Answered]:
    """Load a model directory and answer. Raises InputError as `sear_core.loading` and `Answerer`."""
    return Answerer(model_dir)(prompts, show_reasoning, max_new_tokens)


def save_pyfunc(
    model_dir: Path, out: Path, max_new_tokens: int = MAX_NEW_TOKENS, share_weights: bool = True
) -> Path:
    """Write an MLflow model directory at `out` (which must not exist) and return it.

    share_weights: the files of its artifact become hard links of `model_dir`'s where both are on one disk, so
    that weights lie there once; the stage store never changes a file in place. Raises InputError where
    `model_dir` is no safetensors model directory. Needs no network.
    """
    from sear_core.loading import check_model_directory

    model_dir, out = Path(model_dir).resolve(), Path(out).absolute()
    if not model_dir.is_dir():
        raise InputError(f"{model_dir}: no such model directory")
    check_model_directory(str(model_dir))
    if out.exists():
        raise InputError(f"{out}: is there already; expected a name that is free")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            # MLflow asks for type hints and an input example, which it would run the model on
            warnings.simplefilter("ignore", UserWarning)
            import mlflow.pyfunc
            from mlflow.models import ModelSignature
            from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

            signature = ModelSignature(
                inputs=Schema([ColSpec(DataType.string)]),  # one column, whatever its name, or a list
                outputs=Schema([ColSpec(DataType.string)]),
                params=ParamSchema([
                    ParamSpec("show_reasoning", DataType.boolean, False),
                    ParamSpec("max_new_tokens", DataType.long, max_new_tokens),
                ]),
            )  # fmt: skip
            mlflow.pyfunc.save_model(
                temporary, python_model=str(CODE), artifacts={"model": str(model_dir)}, signature=signature,
                pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
            )  # fmt: skip
        if share_weights:
            _link(model_dir, temporary / "artifacts" / model_dir.name)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def fetch(source: str, label: str) -> Path:
    """A registered version's files on this disk; downloaded where the store is remote.

    Raises InputError where they are gone.
    """
    from urllib.parse import unquote, urlparse

    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        folder = Path(unquote(parsed.path) if parsed.scheme else source)
    else:
        from mlflow.artifacts import download_artifacts

        folder = Path(download_artifacts(artifact_uri=source))
    if not folder.is_dir():
        raise InputError(f"{label}: {folder} is gone; `sear run` makes it anew")
    return folder


def model_directory(pyfunc: Path) -> Path:
    """The safetensors directory inside a pyfunc directory; a plain model directory is its own.

    Raises InputError where it is neither.
    """
    if (pyfunc / "config.json").is_file():
        return pyfunc
    found = sorted(path.parent for path in (pyfunc / "artifacts").glob("*/config.json"))
    if len(found) != 1:
        raise InputError(
            f"{pyfunc}: expected a model directory, or a pyfunc directory with one as its artifact"
        )
    return found[0]


def _link(source: Path, copy: Path) -> None:
    """Replace the copied files by hard links of the source's; on another disk the copies stay."""
    for path in sorted(source.rglob("*")):
        twin = copy / path.relative_to(source)
        if path.is_file() and not path.is_symlink() and twin.is_file():
            linked = twin.with_name(f".{twin.name}.link")
            try:
                os.link(path, linked)
            except OSError:
                return
            linked.replace(twin)


def prompts_of(model_input: Any) -> list[str]:
    """The prompts of whatever MLflow hands over: a one-column DataFrame, a Series, a list, or one text."""
    if isinstance(model_input, str):
        return [model_input]
    if hasattr(model_input, "columns"):
        if len(model_input.columns) != 1:
            raise InputError(f"columns {list(model_input.columns)}: expected one, of prompts")
        model_input = model_input.iloc[:, 0]
    return list(model_input)
