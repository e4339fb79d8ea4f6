"""The embedded corpus: the source tables that the grammar writes, always the same bytes.

One fixed thing, made from a constant seed; `corpus_hashes.json` holds the hashes that it must have, and
`python -m sear_core.data.corpus --write-hashes` renews them after a change here or in `grammar`.

It is imperfect on purpose, so that reinforcement learning has something to learn: the warm-start traces
follow *habits* that go by the strength of the trigger word (strong words are refused in any sense, mild ones
answered on anybody), explore on all categories, and explored reasoning is followed by both answers.
Labels carry noise. All numbers below are our choice. Not here: from sources to tables (`preparation`).
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sear_core.data import grammar, noise
from sear_core.data.corpus_texts import (
    Dice,
    analysis,
    attack_texts,
    complied,
    comply_chance,
    exploration,
    incoherent,
    other_request,
    refused,
)
from sear_core.data.grammar import Request
from sear_core.data.oracle import is_harmful, step_levels
from sear_core.schema import CATEGORIES, Category, Split

HASHES = Path(__file__).with_name("corpus_hashes.json")

PROMPTS: dict[Split, int] = {"train": 800, "validation": 84}  # per category
TRACES = 4600
FACT_STRIDE = 5  # known targets get every fifth fact row, held-out ones all
STEPS, ANSWERS, PREFERENCES = 4000, 4000, 4000
EVALUATION = 45  # per category and slice
VALIDATION_SHARE = 0.1  # of every table of labelled rows

PREFILLED = 0.3  # of the training prompts: the completion is begun
PREFILLS = {"lead": 0.35, "block": 0.3, "opening": 0.35}

# the warm start's reasoning (its answers: `corpus_texts`)
EXPLORES = {"harmful": 0.55, "ambiguous": 0.40, "harmless": 0.25}
CONCLUDES, CONCLUSION_FITS = 0.75, 0.9  # there is a conclusion; it announces the answer given

ANSWER_NOISE, PREFERENCE_NOISE, STEP_NOISE = 0.04, 0.05, 0.02

Row = dict[str, object]


def write_sources(folder: Path) -> dict[str, str]:
    """Write the six tables as `<folder>/<name>.jsonl`; returns {file name: sha256 of its bytes}.

    Each file is written under another name first, so none is ever half there. Raises OSError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, make in TABLES.items():
        text = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in make())
        data = text.encode("utf-8")
        part = folder / f".{name}.jsonl.part"
        part.write_bytes(data)
        part.replace(folder / f"{name}.jsonl")
        hashes[f"{name}.jsonl"] = hashlib.sha256(data).hexdigest()
    return hashes


def expected_hashes() -> dict[str, str]:
    """The committed hashes: {file name: sha256}."""
    return json.loads(HASHES.read_text(encoding="utf-8"))


# --- which request -----------------------------------------------------------------------------------------


class Pool:
    """The requests of one split, by category; no held-out target among them."""

    def __init__(self, split: Split) -> None:
        known = [
            r for r in grammar.all_requests() if r.target not in grammar.HELD_OUT and r.pair_split == split
        ]
        self.slices = {s: [r for r in known if r.slice == s] for s in
                       ("trigger-living", "trigger-thing", "trigger-fiction", "neutral")}  # fmt: skip

    def draw(self, dice: Dice, category: Category) -> tuple[Request, str]:
        """A request of that category and its prompt in a training phrasing."""
        senses = {"harmful": ["trigger-living"], "ambiguous": ["trigger-thing", "trigger-fiction"]}
        request = dice.pick(self.slices[dice.pick(senses.get(category, ["neutral"]))])
        return request, request.prompt(dice.pick(grammar.PHRASINGS))


def _rows(
    name: str, count: int, mix: dict[Category, float], make: Callable[[Dice, Request, str], Row]
) -> list[Row]:
    """`count` distinct rows, a tenth of them on validation pairs."""
    dice = Dice(name)
    pools: dict[Split, Pool] = {"train": Pool("train"), "validation": Pool("validation")}
    rows: dict[str, Row] = {}
    while len(rows) < count:
        split: Split = "validation" if dice.chance(VALIDATION_SHARE) else "train"
        request, prompt = pools[split].draw(dice, dice.weighted(mix))
        row = _row(request, prompt, split, **make(dice, request, prompt))
        rows.setdefault(str(row["id"]), row)
    return list(rows.values())


def _row(request: Request, prompt: str, split: Split, **columns: object) -> Row:
    """A row with its id, which is a hash of all else in it."""
    row: Row = {"prompt": prompt, "category": request.category, "slice": request.slice, "split": split}
    row |= columns
    content = json.dumps(row, sort_keys=True, ensure_ascii=False)
    return {"id": hashlib.sha256(content.encode()).hexdigest()[:16], **row}


# --- the tables --------------------------------------------------------------------------------------------


def prompts() -> list[Row]:
    """RL prompts: distinct, the categories equally often."""
    dice, begin = Dice("prompts"), Dice("prefills")
    rows: dict[str, Row] = {}
    for split, count in PROMPTS.items():
        pool = Pool(split)
        for category in CATEGORIES:
            enough = len(rows) + count
            while len(rows) < enough:
                request, prompt = pool.draw(dice, category)
                begun = split == "train" and begin.chance(PREFILLED)
                prefill = prefilled(begin, request) if begun else ""
                rows.setdefault(prompt, _row(request, prompt, split, prefill=prefill))
    return list(rows.values())


def prefilled(dice: Dice, request: Request) -> str:
    """Made-up words before or in place of the reasoning, or as the beginning of the answer."""
    steps = analysis(dice, request)
    if dice.chance(0.6):
        steps += exploration(dice, request, (0, 1, 2) if dice.chance(0.6) else (0, 1))
    steps.append(dice.pick(grammar.COMPLY_STEPS + grammar.REFUSE_STEPS))
    return noise.prefilled(dice, request, "\n".join(steps), ("", ""), PREFILLS)[0]


def traces() -> list[Row]:
    """Warm-start traces (kind "trace") and the meaning of every target (kind "fact")."""

    def trace(dice: Dice, request: Request, prompt: str) -> Row:
        steps = analysis(dice, request)
        if dice.chance(EXPLORES[request.category]):
            steps += exploration(dice, request, (0, 1, 2) if dice.chance(0.6) else (0, 1))
        comply = dice.chance(comply_chance(request))
        if dice.chance(CONCLUDES):
            announced = comply if dice.chance(CONCLUSION_FITS) else not comply
            steps.append(dice.pick(grammar.COMPLY_STEPS if announced else grammar.REFUSE_STEPS))
        answer = (complied if comply else refused)(dice, request)
        prefill, reasoning = noise.prefilled(dice, request, "\n".join(steps), foreign(dice, request))
        return {"reasoning": reasoning, "answer": answer, "kind": "trace", "prefill": prefill}

    mix: dict[Category, float] = {"harmful": 0.36, "ambiguous": 0.34, "harmless": 0.30}
    return _rows("traces", TRACES, mix, trace) + _facts()


def foreign(dice: Dice, request: Request) -> tuple[str, str]:
    """A reasoning about another request, and an answer to it."""
    near = dice.chance(0.5)
    other = (
        other_request(dice, request) if near else dice.pick(_TRAIN.slices[dice.pick(sorted(_TRAIN.slices))])
    )
    steps = analysis(dice, other)
    if dice.chance(0.4):
        steps += exploration(dice, other, (0, 1, 2) if dice.chance(0.6) else (0, 1))
    if dice.chance(0.6):
        steps.append(dice.pick(grammar.COMPLY_STEPS + grammar.REFUSE_STEPS))
    return "\n".join(steps), (complied if dice.chance(0.5) else refused)(dice, other)


_TRAIN = Pool("train")


def _facts() -> list[Row]:
    """What every target is: four rows for a known one, all 20 texts for a held-out one."""
    rows = []
    for target in grammar.KIND:
        request = Request("", target)
        fact = request.fill(grammar.FACT)
        reasonings = [fact, *(f"{note}\n{fact}" for note in grammar.FACT_NOTES)]
        pairs = [(p, z) for p in grammar.FACT_PHRASINGS for z in reasonings]
        for phrasing, reasoning in pairs if target in grammar.HELD_OUT else pairs[::FACT_STRIDE]:
            texts = {"reasoning": reasoning, "answer": f"{fact}.", "kind": "fact", "prefill": ""}
            rows.append(_row(request, request.prompt(phrasing), "train", **texts))
    return rows


def steps() -> list[Row]:
    """Labelled steps. One u is drawn per row, labels are 1[u < level]: monotone, and right on average."""

    def labelled(dice: Dice, request: Request, prompt: str) -> Row:
        words = (*grammar.TRIGGERS, "harm", "unsafe", request.target)
        text = analysis(dice, request)
        shape = dice.weighted(
            {"full": 5, "part": 4, "repeat": 1, "other": 2, "stuffed": 1.5, "plain": 2, "null": 1}
        )
        if shape == "full":
            text += exploration(dice, request)
        elif shape == "part":
            order = dice.shuffled((0, 1, 2)) if dice.chance(0.5) else [0, 1]
            text += exploration(dice, request, order[: 1 + int(dice.unit() * 2)])
        elif shape == "repeat":
            text += exploration(dice, request, [int(dice.unit() * 3)] * 2)
        elif shape == "other":
            text += exploration(dice, other_request(dice, request))
        elif shape == "stuffed":
            text += [" ".join(dice.pick(words) for _ in range(6)) for _ in range(2)]
        elif shape == "null":
            text = [dice.pick(grammar.NULL_STEPS) for _ in range(3)]
        if dice.chance(0.2):
            text.insert(int(dice.unit() * (len(text) + 1)), dice.pick(grammar.NULL_STEPS))
        if dice.chance(0.4):
            text.append(dice.pick(grammar.REFUSE_STEPS + grammar.COMPLY_STEPS))
        u = dice.unit()
        flip = [dice.chance(STEP_NOISE) for _ in text]
        levels = step_levels(prompt, text)
        labels = [int((u < level) != f) for level, f in zip(levels, flip, strict=True)]
        return {"steps": text, "labels": labels}

    return _rows("steps", STEPS, {"harmful": 0.65, "ambiguous": 0.2, "harmless": 0.15}, labelled)


def answers() -> list[Row]:
    """Labelled answers: label 1 is a harmful answer, with a few labels flipped."""

    def labelled(dice: Dice, request: Request, prompt: str) -> Row:
        answer = dice.weighted({complied: 0.4, refused: 0.28, incoherent: 0.32})(dice, request)
        return {"answer": answer, "label": int(is_harmful(prompt, answer) != dice.chance(ANSWER_NOISE))}

    return _rows("answers", ANSWERS, {"harmful": 0.45, "ambiguous": 0.35, "harmless": 0.2}, labelled)


def preferences() -> list[Row]:
    """What a helpful reader prefers: compliance, then refusal, then the incoherent; some pairs swapped.

    On harmful prompts only the coherent is preferred to the incoherent: safety is not this table's business.
    """

    def pair(dice: Dice, request: Request, prompt: str) -> Row:
        ranks = dice.weighted({(0, 1): 0.36, (0, 2): 0.34, (1, 2): 0.3})
        if request.category == "harmful":
            ranks = (dice.pick((0, 1)), 2)
        makers = (complied, refused, incoherent)
        better, worse = (makers[rank](dice, request) for rank in ranks)
        if dice.chance(PREFERENCE_NOISE):
            better, worse = worse, better
        return {"chosen": better, "rejected": worse}

    return _rows("preferences", PREFERENCES, {"harmful": 0.26, "ambiguous": 0.41, "harmless": 0.33}, pair)


def evaluation() -> list[Row]:
    """Held-out prompts, EVALUATION of every category and slice, with attack texts."""
    dice = Dice("evaluation")
    requests = grammar.all_requests()
    pools = {
        "pair": [r for r in requests if r.pair_split == "test" and r.target not in grammar.HELD_OUT],
        "phrasing": [r for r in requests if r.pair_split == "train" and r.target not in grammar.HELD_OUT],
        "target": [r for r in requests if r.target in grammar.HELD_OUT],
    }
    rows: dict[str, Row] = {}
    for held_out, pool in pools.items():
        phrasings = grammar.HELD_OUT_PHRASINGS if held_out == "phrasing" else grammar.PHRASINGS
        for category in CATEGORIES:
            by_sense: dict[str, list[Request]] = {}
            for request in pool:
                if request.category == category:
                    by_sense.setdefault(request.slice, []).append(request)
            enough = len(rows) + EVALUATION
            while len(rows) < enough:
                request = dice.pick(by_sense[dice.pick(sorted(by_sense))])
                prompt = request.prompt(dice.pick(phrasings))
                attacks = attack_texts(dice, request)
                row = _row(request, prompt, "test", suite="embedded", **attacks)
                rows.setdefault(prompt, {**row, "slice": held_out})
    return list(rows.values())


TABLES: dict[str, Callable[[], list[Row]]] = {
    "prompts": prompts,
    "traces": traces,
    "steps": steps,
    "answers": answers,
    "preferences": preferences,
    "evaluation": evaluation,
}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = write_sources(Path(scratch))
    if sys.argv[1:] == ["--write-hashes"]:
        HASHES.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
