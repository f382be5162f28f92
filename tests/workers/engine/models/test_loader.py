import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from workers.engine import CheckpointError
from workers.engine.models.loader import load_spec, load_weights
from workers.engine.models.spec import ModelSpec

CPU = torch.device("cpu")


@pytest.fixture
def model_dir(models, tmp_path):
    """A copy of a checkpoint, to be broken."""
    return shutil.copytree(models("qwen3-sliding")[0], tmp_path / "model")


def load(directory):
    return load_weights(directory, load_spec(directory), torch.float32, CPU)


def edit_config(directory, **changes):
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def edit_tensors(directory, edit):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def assert_one_line(error):
    assert "\n" not in str(error.value)


def test_a_missing_directory_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no such directory") as error:
        load(tmp_path / "nowhere")
    assert_one_line(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_said(model_dir, name):
    (model_dir / name).unlink()

    with pytest.raises(CheckpointError, match=name) as error:
        load(model_dir)
    assert_one_line(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_truncated_file_is_said(model_dir, name):
    path = model_dir / name
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(CheckpointError, match=name) as error:
        load(model_dir)
    assert_one_line(error)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"num_key_value_heads": 3}, "multiple"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"use_sliding_window": False}, "use_sliding_window"),
        ({"sliding_window": "wide"}, "wrong kind"),
        ({"vocab_size": 98}, "embed_tokens"),
        ({"num_hidden_layers": 4, "layer_types": None}, "model.layers.3"),
        ({"num_hidden_layers": 2, "layer_types": None}, "does not explain"),
        ({"tie_word_embeddings": False}, "lm_head"),
    ],
)
def test_a_config_that_does_not_fit_is_said(model_dir, changes, message):
    edit_config(model_dir, **changes)

    with pytest.raises(CheckpointError, match=message) as error:
        load(model_dir)
    assert_one_line(error)
    assert str(model_dir) in str(error.value)


def test_a_missing_tensor_is_named(model_dir):
    edit_tensors(model_dir, lambda tensors: tensors.pop("model.norm.weight"))

    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is missing"):
        load(model_dir)


def test_an_unexplained_tensor_is_named(model_dir):
    edit_tensors(model_dir, lambda tensors: tensors.update(extra=torch.zeros(1)))

    with pytest.raises(CheckpointError, match="first extra"):
        load(model_dir)


def test_a_sharded_checkpoint_equals_a_single_file(models, tmp_path):
    directory, model = models("qwen3-sliding")
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1

    sharded, single = load(tmp_path), load(directory)

    assert torch.equal(sharded.embedding, single.embedding)
    assert all(
        torch.equal(a.qkv, b.qkv) for a, b in zip(sharded.layers, single.layers, strict=True)
    )


def test_a_missing_shard_is_named(models, tmp_path):
    models("qwen3-sliding")[1].save_pretrained(tmp_path, max_shard_size="50KB")
    shard = min(tmp_path.glob("*.safetensors"))
    shard.unlink()

    with pytest.raises(CheckpointError, match=shard.name):
        load(tmp_path)


def test_old_and_new_rope_settings_mean_the_same(model_dir):
    llama3 = {"factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}
    config = json.loads((model_dir / "config.json").read_text()) | {"rope_parameters": None}
    old = config | {
        "rope_theta": 5e5,
        "rope_scaling": llama3 | {"type": "llama3", "original_max_position_embeddings": 64},
    }
    new = config | {
        "rope_parameters": llama3
        | {"rope_type": "llama3", "rope_theta": 5e5, "original_max_position_embeddings": 64}
    }

    assert ModelSpec.from_config(old) == ModelSpec.from_config(new)
    assert ModelSpec.from_config(old).rope_theta == 5e5


def test_layers_slide_from_max_window_layers_on(models):
    spec = load_spec(models("qwen2-half-sliding")[0])

    assert spec.windows == (None, None, 8)
    assert spec.sliding_window is None
    assert load_spec(models("qwen3-sliding")[0]).sliding_window == 8
