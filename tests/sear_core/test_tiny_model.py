import hashlib
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sear_core.chat_format import render_completion, render_prompt
from sear_core.errors import InputError
from sear_core.loading import check_model_directory, load_causal_lm, load_tokenizer
from sear_core.tiny_model import build_causal_lm, build_tiny, build_tokenizer
from sear_core.trainer_tools import save_model

TEXTS = ["How do I open the box?\n<think>\nThe box is closed.\n</think>\nOpen it.", "Why is the sky blue?"]


def test_every_string_survives_the_tokenizer():
    tokenizer = build_tokenizer(TEXTS, 300)
    for text in ("open the box", "<think>\nÄ漢🙂\n</think>", "\x00\t\r\n  two  spaces "):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_specials_are_one_token_and_think_tags_are_ordinary_text():
    tokenizer = build_tokenizer(TEXTS, 264)  # 4 specials + 256 bytes + 4 merges
    assert len(tokenizer) == 264
    assert [tokenizer(t)["input_ids"] for t in ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")] == [
        [0], [1], [2], [3]
    ]  # fmt: skip
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert len(tokenizer("</think>")["input_ids"]) > 1


def test_the_chat_template_renders_what_it_says():
    tokenizer = build_tokenizer(TEXTS, 300)
    assert render_prompt(tokenizer, "hi", "z") == "<|user|>hi<|end|><|assistant|><think>\nz"
    assert render_completion("a\nb\n", "c", "<|end|>") == "a\nb\n</think>\nc<|end|>"


def test_the_same_texts_give_the_same_tokenizer():
    one, two = (build_tokenizer(TEXTS * 20, 320).backend_tokenizer.to_str() for _ in range(2))
    assert one == two


@pytest.mark.slow  # a process that imports torch and transformers
def test_the_tokenizer_is_the_same_in_another_process():
    code = (
        "from sear_core.tiny_model import build_tokenizer as b; import hashlib;"
        f"print(hashlib.sha256(b({TEXTS * 20!r}, 320).backend_tokenizer.to_str().encode()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = build_tokenizer(TEXTS * 20, 320).backend_tokenizer.to_str()
    assert other.strip() == hashlib.sha256(here.encode()).hexdigest()


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_the_seed_decides_the_weights_and_leaves_the_callers_randomness_alone(architecture):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (build_causal_lm(architecture, 300, 32, 2, 4, 64, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name])
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)
    assert one.get_output_embeddings().weight is one.get_input_embeddings().weight


def test_impossible_shapes_are_named():
    with pytest.raises(InputError, match="multiple of 2 × heads"):
        build_causal_lm("llama", 300, 30, 2, 4, 64, 0)
    with pytest.raises(InputError, match="'gpt2': expected one of"):
        build_causal_lm("gpt2", 300, 32, 2, 4, 64, 0)
    with pytest.raises(InputError, match="vocab_size 100"):
        build_tokenizer(TEXTS, 100)


def test_a_saved_model_loads_as_an_ordinary_directory(tmp_path):
    model, tokenizer = build_tiny(TEXTS, vocab_size=300, hidden_size=32, layers=2, heads=4, seed=3)
    save_model(model, tokenizer, tmp_path / "m", {})
    assert sorted(
        p.suffix for p in (tmp_path / "m").iterdir() if p.suffix in (".bin", ".pt", ".safetensors")
    ) == [".safetensors"]
    loaded, again = load_causal_lm(str(tmp_path / "m")), load_tokenizer(str(tmp_path / "m"))
    ids = tokenizer(render_prompt(tokenizer, "hi"), return_tensors="pt")["input_ids"]
    assert torch.equal(ids, again(render_prompt(again, "hi"), return_tensors="pt")["input_ids"])
    assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert (loaded.config.eos_token_id, loaded.config.pad_token_id) == (1, 0)


def test_the_qwen2_directory_is_like_the_real_one(tmp_path, build_qwen2_directory):
    folder = build_qwen2_directory(tmp_path / "q", TEXTS * 10, vocab_size=300)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer).__name__.startswith("Qwen2Tokenizer")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert render_prompt(tokenizer, "hi").endswith(
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )
    assert len(tokenizer("<|im_start|>")["input_ids"]) == 1
    assert tokenizer.decode(tokenizer("the box, 12 Ä")["input_ids"]) == "the box, 12 Ä"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.model_type == "qwen2"
    assert model.config.vocab_size == len(tokenizer)


def test_a_directory_that_is_no_model_is_named_with_what_it_lacks(tmp_path):
    with pytest.raises(InputError, match="no such model directory"):
        check_model_directory(str(tmp_path / "absent"))
    with pytest.raises(InputError, match=r"no config\.json"):
        check_model_directory(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(InputError, match=r"no \*\.safetensors"):
        load_causal_lm(str(tmp_path))
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(InputError, match="no tokenizer"):
        load_tokenizer(str(tmp_path))
    check_model_directory("some-owner/some-model")  # a hub name: not checked


def test_a_missing_chat_template_is_replaced_and_said(tmp_path, caplog):
    model, tokenizer = build_tiny(TEXTS, vocab_size=300, hidden_size=32, layers=1, heads=4)
    tokenizer.chat_template = None
    save_model(model, tokenizer, tmp_path / "m", {})
    loaded = load_tokenizer(str(tmp_path / "m"))
    assert "no chat template" in caplog.text
    assert render_prompt(loaded, "hi") == "User: hi\nAssistant: <think>\n"


def test_broken_weights_and_an_unknown_dtype_are_input_errors(tmp_path):
    model, tokenizer = build_tiny(TEXTS, vocab_size=300, hidden_size=32, layers=1, heads=4)
    save_model(model, tokenizer, tmp_path / "m", {})
    with pytest.raises(InputError, match="dtype 'float8'"):
        load_causal_lm(str(tmp_path / "m"), dtype="float8")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_causal_lm(str(tmp_path / "m"))
