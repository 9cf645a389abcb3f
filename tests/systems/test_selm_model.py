"""SELM's language-model side: scores against explicit sums, the loss, padding, and texts of labels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from gendiffclf.featurizers.padding import pad  # noqa: E402
from gendiffclf.systems.selm_fitting import training_examples  # noqa: E402
from gendiffclf.systems.selm_language import (  # noqa: E402
    answer_tokens,
    byte_tokenizer,
    check_positions,
    language_description,
    language_from_description,
    load_language_model,
    prompt_tokens,
)
from gendiffclf.systems.selm_mapping import FrameProjection, mean_and_deviation, span_means  # noqa: E402
from gendiffclf.systems.selm_model import SelmModel, label_scores, text_scores  # noqa: E402
from gendiffclf.systems.selm_texts import VIEWS, View, checked_label_texts, checked_views  # noqa: E402

WORDS = ["sad", "happy", "a", "of two words"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture
def model(tokenizer):
    """A small GPT-2 and mappers, with weights far enough from zero that texts differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=64)
        language_model = transformers.GPT2LMHeadModel(config)
        sizes = {"n_prefix": 3, "n_layers": 1, "n_heads": 2, "dropout": 0.1}
        model = SelmModel(language_model, 5, **sizes, tune_language_model=True).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def frames_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, 5)).astype(np.float32) for n in lengths]


def prefix_of(model, tokenizer, frames):
    tokens = torch.tensor([prompt_tokens(tokenizer, "feels")])
    padded, mask = pad(frames)
    with torch.inference_mode():
        return model.prefix(padded, mask, tokens, torch.tensor([tokens.shape[1]]))


def explicit_score(language_model, prefix, tokens):
    """Sum of log-probabilities from the whole sequence at once, without a cache."""
    embedded = language_model.get_input_embeddings()(torch.tensor(tokens)).expand(len(prefix), -1, -1)
    logits = language_model(inputs_embeds=torch.cat([prefix, embedded], dim=1), use_cache=False).logits
    log_p = logits.double().log_softmax(dim=-1)
    return sum(log_p[:, prefix.shape[1] - 1 + i, token] for i, token in enumerate(tokens))


def test_scores_are_sums_of_log_probabilities(model, tokenizer):
    prefix = prefix_of(model, tokenizer, frames_of([9, 4, 6]))
    texts = [answer_tokens(tokenizer, word) for word in WORDS] + [[7]]
    with torch.inference_mode():
        found = text_scores(model.language_model, prefix, texts)
        expected = torch.stack([explicit_score(model.language_model, prefix, text) for text in texts], dim=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.std(dim=1).min() > 1  # texts differ, so that the comparison says something


def test_scores_of_another_kind_of_language_model(tokenizer, generator):
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        language_model = transformers.LlamaForCausalLM(config).eval()
        for parameter in language_model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    prefix = torch.randn(3, 6, 16, generator=generator)
    texts = [answer_tokens(tokenizer, word) for word in WORDS]
    with torch.inference_mode():
        found = text_scores(language_model, prefix, texts)
        expected = torch.stack([explicit_score(language_model, prefix, text) for text in texts], dim=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_each_view_adds_an_answer_where_it_has_one(model, tokenizer):
    texts = {"happy": ("happy", "glad"), "moved": ("moved",)}
    labels, frames = np.array(["happy", "moved"]), frames_of([3, 4])
    examples = training_examples(model, tokenizer, frames, labels, texts, "feels", VIEWS)
    found = [
        (
            tokenizer.decode(example["prompt"][: example["n_prompt"]]),
            tokenizer.decode(example["answer"][: example["n_answer"]], skip_special_tokens=True).strip(),
        )
        for example in examples
    ]
    assert found == [
        ("feels", "happy"),
        ("feels", "glad"),
        (VIEWS["sentiment"].prompt, "positive"),
        (VIEWS["vad"].prompt, "high, high and high"),
        ("feels", "moved"),
    ]
    assert all(example["inputs"] is frames[i] for i, example in zip([0, 0, 0, 0, 1], examples, strict=True))
    assert len({example["answer"].shape for example in examples}) == 1


def test_the_cached_prefix_is_computed_once_and_a_text_costs_its_tokens(model, tokenizer, monkeypatch):
    prefix = prefix_of(model, tokenizer, frames_of([5, 5]))
    texts = [answer_tokens(tokenizer, word) for word in WORDS] + [[7]]
    steps, original = [], model.language_model.forward

    def counted(*args, **kwargs):
        steps.append(kwargs["inputs_embeds"].shape[1])
        return original(*args, **kwargs)

    monkeypatch.setattr(model.language_model, "forward", counted)
    with torch.inference_mode():
        text_scores(model.language_model, prefix, texts)
    assert steps == [prefix.shape[1], *(len(text) - 1 for text in texts[:-1])]


def test_a_prefix_does_not_depend_on_the_batch(model, tokenizer):
    frames = frames_of([9, 2, 30])
    together = prefix_of(model, tokenizer, frames)
    for i, clip in enumerate(frames):
        np.testing.assert_allclose(prefix_of(model, tokenizer, [clip])[0], together[i], rtol=1e-5, atol=1e-5)


def batch_of(tokenizer, words, n_padding=0):
    frames, mask = pad(frames_of([6, 4])[: len(words)])
    prompt = torch.tensor([prompt_tokens(tokenizer, "feels")] * len(words))
    answers = [answer_tokens(tokenizer, word) for word in words]
    longest = max(map(len, answers)) + n_padding
    return {
        "inputs": frames,
        "mask": mask,
        "prompt": prompt,
        "n_prompt": torch.full((len(words),), prompt.shape[1]),
        "answer": torch.tensor([tokens + [9] * (longest - len(tokens)) for tokens in answers]),
        "n_answer": torch.tensor([len(tokens) for tokens in answers]),
    }


def test_the_loss_is_the_mean_over_answer_tokens_alone(model, tokenizer):
    words = ["sad", "happy"]
    with torch.inference_mode():
        loss = model(**batch_of(tokenizer, words))["loss"]
        padded = model(**batch_of(tokenizer, words, n_padding=5))["loss"]
        prefix = prefix_of(model, tokenizer, frames_of([6, 4]))
        tokens = [answer_tokens(tokenizer, word) for word in words]
        sums = [explicit_score(model.language_model, prefix[i : i + 1], tokens[i]) for i in range(2)]
    expected = -sum(sums) / sum(map(len, tokens))
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    np.testing.assert_allclose(padded, loss, rtol=1e-6)


def test_padding_of_answers_gets_no_gradient(model, tokenizer):
    embedding = model.language_model.get_input_embeddings().weight
    batch = batch_of(tokenizer, ["sad", "happy"])
    unpadded = torch.autograd.grad(model(**batch)["loss"], embedding)[0]
    padded = torch.autograd.grad(model(**batch_of(tokenizer, ["sad", "happy"], n_padding=4))["loss"], embedding)[0]
    np.testing.assert_allclose(padded, unpadded, atol=1e-6)


def test_padding_of_prompts_and_frames_counts_for_nothing(model, tokenizer):
    batch = batch_of(tokenizer, ["sad", "happy"])
    longer = batch | {
        "inputs": torch.nn.functional.pad(batch["inputs"], (0, 0, 0, 7), value=3.0),
        "mask": torch.nn.functional.pad(batch["mask"], (0, 7)),
        "prompt": torch.nn.functional.pad(batch["prompt"], (0, 3), value=8),
    }
    with torch.inference_mode():
        np.testing.assert_allclose(model(**longer)["loss"], model(**batch)["loss"], rtol=1e-5)


def test_a_frozen_language_model_stays_as_it_is(model, tokenizer):
    model.tune(language_model=False)
    model.train()
    assert not model.language_model.training
    assert model.audio_mapper.training
    model(**batch_of(tokenizer, ["sad", "happy"]))["loss"].backward()
    assert all(p.grad is None for p in model.language_model.parameters())
    mappers = [*model.audio_mapper.parameters(), *model.text_mapper.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mappers)


def test_a_state_dict_holds_tied_weights_once(model):
    names = set(model.state_dict())
    assert "language_model.transformer.wte.weight" in names
    assert "language_model.lm_head.weight" not in names


def test_several_texts_of_a_label_share_its_probability():
    scores = torch.tensor([[0.1, 0.2, 0.5]], dtype=torch.float64).log()
    found = label_scores(scores, [1, 2, 3], [1, 2], length_normalize=False)
    np.testing.assert_allclose(found.exp(), [[0.1, 0.7]])
    normalised = label_scores(scores, [1, 2, 1], [1, 2], length_normalize=True)
    np.testing.assert_allclose(normalised.exp(), [[0.1, (0.2**0.5 + 0.5) / 2]])


def test_the_projection_is_its_formula():
    projection = FrameProjection(3, 4, dropout=0.5).eval()
    x = torch.arange(6.0).view(2, 3)
    u = x @ projection.first.weight.T
    y = u + torch.nn.functional.gelu(u) @ projection.second.weight.T
    expected = (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    np.testing.assert_allclose(projection(x).detach(), expected.detach(), atol=1e-5)


def test_spans_are_of_equal_time():
    states = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 8.0, 99.0, 99.0, 99.0]])[:, :, None]
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    # Steps 0-1-2 and 3-4 of five; one each of two.
    np.testing.assert_allclose(span_means(states, mask, 2)[:, :, 0], [[2.0, 4.5], [6.0, 8.0]])
    np.testing.assert_allclose(span_means(states[1:], mask[1:], 4)[0, :, 0], [6, 0, 8, 0])
    summary = mean_and_deviation(states, mask)
    np.testing.assert_allclose(summary, [[3, 2**0.5], [7, 1]], atol=1e-5)


def test_bytes_become_tokens_and_text_again(tokenizer):
    tokens = answer_tokens(tokenizer, "fröhlich")
    assert tokens[-1] == tokenizer.eos_token_id
    assert len(tokens) == len(" fröhlich".encode()) + 1
    assert tokenizer.decode(tokens, skip_special_tokens=True) == " fröhlich"


def test_a_language_model_and_its_tokenizer_load_from_a_folder(model, tokenizer, tmp_path):
    model.language_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, found = load_language_model(tmp_path)
    tokens = torch.tensor([answer_tokens(found, "happy")])
    assert tokens.tolist() == [answer_tokens(tokenizer, "happy")]
    with torch.inference_mode():
        np.testing.assert_allclose(loaded(tokens).logits, model.language_model(tokens).logits, rtol=1e-5)
    again, described = language_from_description(language_description(loaded, found))
    again.load_state_dict(loaded.state_dict())
    assert answer_tokens(described, "happy") == tokens[0].tolist()
    with torch.inference_mode():
        np.testing.assert_array_equal(again(tokens).logits, loaded(tokens).logits)


def test_a_tokenizer_of_python_code_has_no_description(model):
    with pytest.raises(TypeError, match="Got a tokenizer of type SimpleNamespace, expected a fast tokenizer"):
        language_description(model.language_model, SimpleNamespace(is_fast=False))


def test_what_is_no_language_model_is_refused(model, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="Got language_model of type GPT2LMHeadModel"):
        load_language_model(model.language_model)
    with pytest.raises(OSError, match="expected a hub name or the folder of a causal language model"):
        load_language_model(tmp_path / "none")
    model.language_model.save_pretrained(tmp_path)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    tokenizer.eos_token = "<|endoftext|>"
    with pytest.raises(ValueError, match="no end-of-text token, expected one"):
        load_language_model(tmp_path)
    with pytest.raises(
        ValueError, match="Got n_prefix=30 and an answer of 5 tokens, which need 65 positions, expected at most the 64"
    ):
        check_positions(model.language_model, 30, 5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("sad", "expected a mapping from each label"),
        ({}, "expected a mapping from each label"),
        ({"a": 3}, "Got 3 as the text of label 'a'"),
        ({"a": []}, "as the text of label 'a', expected a string or a list"),
        ({"a": " "}, "Got ' ' as a text of label 'a'"),
        ({"a": "low", "b": ["high", "low"]}, "Got the text 'low' for the labels 'a' and 'b'"),
        ({0: "low", "b": "high"}, "Got labels \\[0, 'b'\\], expected all strings or all numbers; use one type"),
        ({(0, 1): "low", (1, 2): "high"}, "Got labels .* expected all strings or all numbers"),
        ({None: "low", "b": "high"}, "Got labels .* expected all strings or all numbers"),
    ],
)
def test_texts_that_tell_no_labels_apart_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        checked_label_texts(texts)


def test_texts_are_sorted_by_label():
    assert list(checked_label_texts({10: "ten", 9: ["nine ", "nine"]}).items()) == [(9, ("nine",)), (10, ("ten",))]


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (["mood"], "Got views=\\['mood'\\], expected a list of names among"),
        ("vad", "Got views='vad', expected a list of names"),
        ({"mood": "happy"}, "Got a view 'mood' of type str, expected a View"),
        ({"mood": View("mood?", {"z": "none"})}, "Got the view 'mood' with answers for \\['z'\\]"),
    ],
)
def test_views_that_answer_nothing_are_refused(views, message):
    with pytest.raises(ValueError, match=message):
        checked_views(views, ["happy", "sad"])


def test_views_have_an_answer_for_every_emotion_of_the_layouts():
    emotions = {"angry", "bored", "calm", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"}
    assert all(set(view.texts) == emotions for view in VIEWS.values())
