import json

import numpy as np
import pytest
import torch

from gendiffclf import FbankFeaturizer
from gendiffclf.systems.model_folder import DESCRIPTION, load_system, save_system


def test_parameters_attributes_and_weights_come_back(tmp_path):
    parameters = {"width": 8, "encoder": FbankFeaturizer(n_mels=4, cache="here"), "device": "cuda", "folder": tmp_path}
    weight = torch.arange(6.0).view(2, 3)
    fitted = {"classes": np.array(["a", "b"]), "rate": np.float64(0.5)}
    save_system(tmp_path / "model", "System", parameters, fitted, {"one": weight, "tied": weight.T})
    read, attributes, weights = load_system(tmp_path / "model", "System")
    assert (read["width"], read["folder"]) == (8, str(tmp_path))
    assert "device" not in read  # another machine may have others
    assert (read["encoder"].n_mels, read["encoder"].cache) == (4, None)
    assert attributes == {"classes": ["a", "b"], "rate": 0.5}
    assert torch.equal(weights["tied"], weight.T)


class OwnFeaturizer(FbankFeaturizer):
    """A featuriser that is in no registry."""


def test_a_stream_of_random_numbers_is_not_kept(tmp_path):
    save_system(tmp_path / "model", "System", {"random_state": np.random.RandomState(0)}, {}, {"w": torch.ones(1)})
    assert load_system(tmp_path / "model", "System")[0] == {"random_state": None}


def test_what_json_cannot_hold_leaves_no_folder(tmp_path):
    with pytest.raises(TypeError, match="Got OwnFeaturizer, expected a featuriser in FEATURIZERS; register it there"):
        save_system(tmp_path / "model", "System", {"encoder": OwnFeaturizer()}, {}, {})
    with pytest.raises(TypeError, match="Got encoder of type Linear, expected a number, a string or a list"):
        save_system(tmp_path / "model", "System", {"encoder": torch.nn.Linear(1, 1)}, {}, {})
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"without a readable model\.json, expected one that System\.save wrote"):
        load_system(tmp_path, "System")
    save_system(tmp_path / "model", "Other", {}, {}, {"w": torch.ones(1)})
    with pytest.raises(ValueError, match=r"of kind 'Other', expected 'System'; load it with its own class"):
        load_system(tmp_path / "model", "System")
    path = tmp_path / "model" / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(ValueError, match=r"version 99, expected .* upgrade gendiffclf"):
        load_system(tmp_path / "model", "Other")
    with pytest.raises(ValueError, match=f"which exists, expected a new folder or one of a model, with {DESCRIPTION}"):
        save_system(tmp_path, "Other", {}, {}, {}, overwrite=True)
