"""The embedded corpus with more and cleaner labels: what would better reward models change?

    python benchmarks/clean_labels.py FOLDER              # 12,000 rows a table instead of 4,000, no flipped labels
    sear study --config clean.toml --arms grpo,sear,clean,grpo_clean --seeds 3,4 --shares .33

with `extends = "study"` and, in a variant of each arm, `data.root = "FOLDER"`. Prompts, traces and evaluation are
the same bytes as in data/embedded, so that nothing but the reward models differs. A step's label is still drawn, with
its level as the probability.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest.mock import patch

from sear_core.data import corpus


def write(folder: Path, rows: int) -> dict[str, str]:
    """The six tables in `folder`/embedded; returns {file name: sha256}. Raises OSError."""
    clean = {"ANSWER_NOISE": 0.0, "PREFERENCE_NOISE": 0.0, "STEP_NOISE": 0.0}
    with patch.multiple(corpus, **clean, STEPS=rows, ANSWERS=rows, PREFERENCES=rows):
        return corpus.write_sources(folder / "embedded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=12000, help="of each of the three tables of labels")
    options = parser.parse_args()
    if options.rows < 1:
        parser.error(f"--rows {options.rows}: at least 1")
    hashes = write(options.folder, options.rows)
    for name, found in hashes.items():
        sys.stdout.write(
            f"{name}: {'as in data/embedded' if found == corpus.expected_hashes()[name] else 'new'}\n"
        )


if __name__ == "__main__":
    main()
