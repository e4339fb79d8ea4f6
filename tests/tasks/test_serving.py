"""The registered model: real MLflow, a tiny model built here, loaded again in a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sear_core.errors import InputError
from sear_core.tiny_model import build_causal_lm, build_tokenizer
from tasks.serving import Answerer, answer, model_directory, prompts_of, save_pyfunc

COMPLETION = "one may try\n</think>\nI cannot help."
PROMPTS = ["how do I open it", "bake bread"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory) -> Path:
    """A model that writes COMPLETION after every prompt: trained on it until it does."""
    from sear_core.chat_format import render_prompt

    torch.manual_seed(0)
    tokenizer = build_tokenizer([COMPLETION, *PROMPTS] * 4, vocab_size=300)
    model = build_causal_lm(
        "llama", len(tokenizer), hidden_size=32, layers=2, heads=2, max_positions=256, seed=0
    )
    rows = [render_prompt(tokenizer, p) for p in PROMPTS]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.zeros(())
        for row in rows:
            start = len(tokenizer(row)["input_ids"])
            ids = torch.tensor([tokenizer(row + COMPLETION)["input_ids"] + [tokenizer.eos_token_id]])
            labels = ids.clone()
            labels[:, :start] = -100
            loss = loss + model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    out = tmp_path_factory.mktemp("model") / "model"
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def pyfunc(model_dir) -> Path:
    return save_pyfunc(model_dir, model_dir.parent / "pyfunc")


def test_the_answer_comes_alone_unless_the_reasoning_is_asked_for(model_dir):
    plain, shown = answer(model_dir, PROMPTS[:1])[0], answer(model_dir, PROMPTS[:1], show_reasoning=True)[0]
    assert plain == {"prompt": PROMPTS[0], "answer": "I cannot help.", "reasoning": "", "well_formed": True}
    assert shown["reasoning"] == "one may try"


def test_a_completion_cut_off_by_the_limit_gives_an_empty_answer_and_no_reasoning(model_dir):
    for limit in range(1, 6):
        assert answer(model_dir, PROMPTS[:1], max_new_tokens=limit)[0] == {
            "prompt": PROMPTS[0], "answer": "", "reasoning": "", "well_formed": False,
        }  # fmt: skip


def test_answers_do_not_hang_on_the_batch_they_were_in(model_dir):
    answerer = Answerer(model_dir, device="cpu")
    assert answerer(PROMPTS * 2, batch_size=3) == answerer(PROMPTS * 2, batch_size=1)


def test_the_pyfunc_directory_has_code_and_safetensors_and_no_pickle(pyfunc):
    names = {path.name for path in pyfunc.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_model.py", "model.safetensors"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".bin", ".pt", ".cloudpickle"))]


def test_weights_lie_on_the_disk_once(model_dir, pyfunc):
    copies = list(pyfunc.rglob("*.safetensors"))
    assert len(copies) == 1
    assert copies[0].samefile(model_dir / "model.safetensors")
    assert model_directory(pyfunc) == copies[0].parent


def test_it_loads_in_a_fresh_process_through_mlflow_alone(pyfunc, tmp_path):
    code = f"""
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model({str(pyfunc)!r})
prompts = {PROMPTS!r}
print(json.dumps({{
    "list": model.predict(prompts),
    "frame": model.predict(pd.DataFrame({{"anything": prompts}})),
    "shown": model.predict(prompts, params={{"show_reasoning": True}}),
    "short": model.predict(prompts, params={{"max_new_tokens": 2}}),
}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout.splitlines()[-1])
    assert out["list"] == out["frame"] == ["I cannot help."] * 2
    assert [row["reasoning"] for row in out["shown"]] == ["one may try"] * 2
    assert out["short"] == ["", ""]


def test_a_directory_without_safetensors_is_refused_by_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="safetensors"):
        save_pyfunc(tmp_path / "model", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_blank_prompts_and_two_columns_are_refused(model_dir):
    import pandas as pd

    with pytest.raises(InputError, match="row 1"):
        answer(model_dir, ["hello", "  "])
    with pytest.raises(InputError, match="expected one"):
        prompts_of(pd.DataFrame({"a": ["x"], "b": ["y"]}))
