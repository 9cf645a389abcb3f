"""Encoders by folder, hub name and object: what identifies them, what is refused, what is kept loaded."""

import gc
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from gendiffclf.featurizers import HubertFeaturizer, checkpoint, release_encoders
from gendiffclf.featurizers.checkpoint import open_checkpoint

from .conftest import RATE, random_model, save_checkpoint, tiny_config, tone


def fingerprint(model, **parameters):
    return open_checkpoint(model, **{"revision": None, "do_normalize": True} | parameters).fingerprint


def test_fingerprint_follows_weights_and_architecture(tmp_path):
    config = tiny_config("hubert", "layer")
    first = save_checkpoint(tmp_path / "a", config, seed=0)
    again = save_checkpoint(tmp_path / "b", config, seed=0)
    assert fingerprint(first) == fingerprint(str(first)) == fingerprint(again)
    assert fingerprint(save_checkpoint(tmp_path / "c", config, seed=1)) != fingerprint(first)
    model = random_model(config)
    before = fingerprint(model)
    assert fingerprint(random_model(config)) == before
    with torch.no_grad():
        model.encoder.layers[0].attention.q_proj.bias[0] += 1
    assert fingerprint(model) != before
    assert fingerprint(random_model(config).bfloat16()) != before
    other = tiny_config("hubert", "layer")
    other.layer_norm_eps = 1e-3
    assert fingerprint(random_model(other)) != before


def test_a_folder_written_anew_is_another_encoder(tmp_path):
    config, clips = tiny_config("hubert", "layer"), [(tone(0.2), RATE)]
    folder = save_checkpoint(tmp_path / "model", config, seed=0)
    featurizer = HubertFeaturizer(folder)
    first = featurizer.transform(clips)
    save_checkpoint(folder, config, seed=1)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    second = featurizer.transform(clips)
    assert not np.allclose(first, second, rtol=1e-2)
    np.testing.assert_array_equal(second, HubertFeaturizer(folder, cache=None).transform(clips))


def test_an_encoder_is_loaded_once_and_let_go(checkpoints, monkeypatch):
    release_encoders()
    loads = []
    original = checkpoint._load
    monkeypatch.setattr(checkpoint, "_load", lambda *a: loads.append(a) or original(*a))
    clips = [(tone(0.2), RATE)]
    for _ in range(2):
        HubertFeaturizer(checkpoints["layer"], cache=None).transform(clips)
    assert len(loads) == 1
    HubertFeaturizer(checkpoints["group"], cache=None).transform(clips)
    assert len(loads) == 2
    assert len(checkpoint._loaded) == 1  # one encoder's worth of memory, not every one ever used
    release_encoders()
    gc.collect()
    assert not checkpoint._loaded


def test_weights_are_not_loaded_for_what_the_cache_holds(checkpoints, monkeypatch):
    clips = [(tone(0.2), RATE)]
    first = HubertFeaturizer(checkpoints["layer"]).transform(clips)
    release_encoders()
    monkeypatch.setattr(checkpoint, "_load", lambda *a: pytest.fail("loaded"))
    np.testing.assert_array_equal(HubertFeaturizer(checkpoints["layer"]).transform(clips), first)


def test_missing_weights_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save_checkpoint(tmp_path / "model", tiny_config("hubert", "layer"))
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"without weights for \['encoder.layers.1.attention.q_proj.weight'\] \(1 in all\)"
    ):
        HubertFeaturizer(folder, cache=None).transform([(tone(0.2), RATE)])


def test_without_a_preprocessor_the_architecture_decides_and_says_so(tmp_path):
    for norm, expected in (("layer", True), ("group", False)):
        folder = save_checkpoint(tmp_path / norm, tiny_config("hubert", norm))
        (folder / "preprocessor_config.json").unlink()
        with pytest.warns(
            UserWarning, match=f"without preprocessor_config.json.*becomes {expected}, .* Set do_normalize"
        ):
            assert open_checkpoint(folder, None, "auto").do_normalize is expected
        assert open_checkpoint(folder, None, not expected).do_normalize is not expected


def test_the_sampling_rate_is_the_preprocessors(tmp_path):
    folder = save_checkpoint(tmp_path / "model", tiny_config("hubert", "layer"))
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sampling_rate": 8000}))
    assert open_checkpoint(folder, None, "auto").sampling_rate == 8000


def test_what_is_no_speech_encoder_is_refused(tmp_path, checkpoint):
    from transformers import BertConfig

    BertConfig(hidden_size=8).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="of type 'bert', expected an encoder of waveforms: HuBERT"):
        open_checkpoint(tmp_path / "bert", None, True)
    with pytest.raises(ValueError, match="Got model of type int, expected a name, a folder or a loaded model"):
        open_checkpoint(3, None, True)
    with pytest.raises(ValueError, match="Got revision='main' with a folder, expected None"):
        open_checkpoint(checkpoint, "main", True)
    with pytest.raises(OSError, match="Got model='nobody/nothing', revision='v1', expected a hub name or the folder"):
        open_checkpoint("nobody/nothing", "v1", True)
    config = tiny_config("wav2vec2", "layer")
    config.add_adapter = True
    config.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="with add_adapter=True, expected an encoder without an adapter"):
        open_checkpoint(tmp_path / "adapter", None, True)


def test_hub_names_and_revisions_through_the_hubs_own_cache(tmp_path):
    """Two commits of one name, laid out as the hub's cache lays them out, in a process that cannot reach the hub."""
    hub = tmp_path / "hub" / "models--someone--tiny-hubert"
    clip = tone(0.3)
    expected = []
    for number, (commit, ref) in enumerate([("a" * 40, "main"), ("b" * 40, "v2")]):
        folder = save_checkpoint(tmp_path / ref, tiny_config("hubert", "layer"), seed=number)
        expected.append(HubertFeaturizer(folder, layers=-1, cache=None).transform([(clip, RATE)]))
        shutil.copytree(folder, hub / "snapshots" / commit)
        (hub / "refs").mkdir(exist_ok=True)
        (hub / "refs" / ref).write_text(commit)
    np.save(tmp_path / "clip.npy", clip)
    program = (
        "import numpy as np, sys\n"
        "from gendiffclf.featurizers import HubertFeaturizer\n"
        "clip = [(np.load(sys.argv[1] + '/clip.npy'), 16000)]\n"
        "rows = [HubertFeaturizer('someone/tiny-hubert', revision=r, layers=-1, cache=sys.argv[1] + '/cache').transform(clip)\n"
        "        for r in (None, 'v2', 'a' * 40, None)]\n"
        "np.save(sys.argv[1] + '/rows.npy', np.concatenate(rows))\n"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program, str(tmp_path)], env=environment, check=True
    )
    main, v2, commit, again = np.load(tmp_path / "rows.npy")
    np.testing.assert_allclose(main, expected[0][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(v2, expected[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(commit, main)
    np.testing.assert_array_equal(again, main)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2
