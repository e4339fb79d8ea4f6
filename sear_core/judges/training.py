"""Trains the learnt judges and writes their weights: python -m sear_core.judges.training DATA_ROOT [OUT].

DATA_ROOT is the folder of the public sets (training_data.FILES). OUT is where the weights go; without it, where the
project keeps those that it ships. Minutes on one core; the same data gives the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sear_core.errors import InputError
from sear_core.judges.harm_classifier import train_harm
from sear_core.judges.names import WEIGHTS
from sear_core.judges.refusal_training import train_refusal
from sear_core.judges.training_data import FILES, digest, harm_rows, refusal_rows


def train(root: Path, out: Path = WEIGHTS) -> list[Path]:
    """out/refusal.safetensors and out/harm.safetensors. Raises InputError where a training file is missing."""
    sources = digest(root)
    licence = "trained on data under the MIT licence"
    refusal = train_refusal(
        refusal_rows(root),
        about={"sources": {"chatgpt_refusals": sources["chatgpt_refusals"]}, "licence": licence},
    )
    refusal.save(out / "refusal.safetensors")
    harm = train_harm(harm_rows(root), about={"sources": {"gptfuzz": sources["gptfuzz"]}, "licence": licence})
    harm.save(out / "harm.safetensors")
    return [out / "refusal.safetensors", out / "harm.safetensors"]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(
            f"usage: python -m sear_core.judges.training DATA_ROOT [OUT]; it reads {', '.join(FILES.values())}"
        )
    try:
        for written in train(Path(sys.argv[1]), *(Path(name) for name in sys.argv[2:])):
            print(written)
    except InputError as error:
        sys.exit(f"error: {error}")
