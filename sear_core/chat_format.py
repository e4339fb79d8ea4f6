"""The text format of a completion, and how a prompt is put before the model.

A completion is `<think>` z `</think>` a: reasoning z (steps, one a line), then the answer a. `<think>` and a
newline are forced (TARS, arXiv 2507.00971 §3), so they lie in the prompt, not in the completion. Prompts are
rendered to plain text here, whatever the model's chat template, so that a prefill (an attack, or RECAP's
harmful reasoning) is simply more prompt: never sampled, never in the loss.
"""

from __future__ import annotations

from typing import Any

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
FORCED_PREFIX = f"{THINK_OPEN}\n"


def render_prompt(tokenizer: Any, prompt: str, prefill: str = "") -> str:
    """The text that the model continues: chat template, generation prompt, `<think>` newline, prefill.

    A leading begin-of-sequence token is cut off where the tokenizer adds it by itself, so that encoding with
    special tokens (TRL's way) never doubles it. A template that already opens the think block is not given a
    second one.
    """
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    bos = tokenizer.bos_token
    if bos and text.startswith(bos) and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id:
        text = text.removeprefix(bos)
    if text.rstrip().endswith(THINK_OPEN):
        text = text.rstrip().removesuffix(THINK_OPEN)
    return text + FORCED_PREFIX + prefill


def render_completion(reasoning: str, answer: str, eos: str = "", prefill: str = "") -> str:
    """What follows the forced prefix and the prefill: reasoning, closing tag, answer, end-of-sequence token.

    A prefill that closes the think block leaves the answer alone to be written, after a space where the
    prefill does not end in white space.
    """
    if THINK_CLOSE in prefill:
        return f"{'' if prefill[-1].isspace() else ' '}{answer}{eos}"
    return f"{reasoning.rstrip()}\n{THINK_CLOSE}\n{answer}{eos}"


def closed_block(reasoning: str) -> str:
    """The rest of a think block after `<think>\\n`: the reasoning, the closing tag, a newline.

    A closing tag within the reasoning ends it there, so that there is exactly one.
    """
    body = reasoning.split(THINK_CLOSE)[0].rstrip()
    return f"{body}\n{THINK_CLOSE}\n" if body else f"{THINK_CLOSE}\n"
