"""GCG: a suffix that makes the model begin an affirmative text (Zou et al., arXiv 2307.15043), by nanogcg.

nanogcg optimises the suffix behind the prompt for the likelihood of a target that follows the generation prompt. Here
that is the forced `<think>` newline and the row's affirmative opening: the reasoning, which decides the answer, is to
begin by agreeing (our choice). The library is imported when the attack is used, and is none of our requirements: what
it says it needs is an older transformers, but its code runs with ours without its prefix cache.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

from sear_core.chat_format import FORCED_PREFIX
from sear_core.errors import InputError
from sear_core.evaluation.attacks import Tools


def attacked(prompt: str, affirmative: str, steps: int, tools: Tools) -> str:
    """The prompt with the suffix found for it; found ones are kept in `tools.folder`, by all that decides them.

    Raises InputError where nanogcg is not installed.
    """
    content = json.dumps([prompt, affirmative, steps, tools.seed, tools.model_key])
    kept = tools.folder / f"{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"
    if kept.is_file():
        return json.loads(kept.read_text("utf-8"))
    nanogcg = _library()
    # the search needs gradients with respect to embeddings, never the weights'
    tools.model.requires_grad_(False)
    result = nanogcg.run(
        tools.model, tools.tokenizer, f"{prompt} {{optim_str}}", FORCED_PREFIX + affirmative,
        nanogcg.GCGConfig(num_steps=steps, seed=tools.seed, use_prefix_cache=False, verbosity="ERROR"),
    )  # fmt: skip
    found = f"{prompt} {result.best_string}"
    tools.folder.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps(found), "utf-8")
    temporary.replace(kept)
    return found


def _library() -> Any:
    try:
        return importlib.import_module("nanogcg")
    except ImportError as error:
        raise InputError(
            f"attack 'gcg' needs nanogcg ({error}); expected it installed: pip install --no-deps nanogcg"
        ) from None
