import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from workers.engine import CheckpointError
from workers.engine.models.loader import load_spec, load_weights
from workers.engine.models.memory import enough_memory, free_bytes, weight_bytes
from workers.engine.models.spec import ModelSpec

VARIANTS = ("llama", "llama-rope3-bias", "qwen2-ratio7", "qwen3", "qwen3-sliding")
CPU = torch.device("cpu")
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8,
    "low_freq_factor": 1,
    "high_freq_factor": 4,
}


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
        ({"num_attention_heads": 0}, "num_heads must be at least 1"),
        ({"head_dim": 15}, "odd"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "only Qwen3ForCausalLM"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"num_key_value_heads": 3}, "multiple"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "yarn"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, "linear"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "factor"),
        ({"rope_parameters": LLAMA3 | {"low_freq_factor": 4}}, "low_freq_factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "per kind of layer"),
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


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_tensors_are_refused(model_dir, dtype):
    name = "model.layers.1.mlp.down_proj.weight"
    edit_tensors(model_dir, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))

    with pytest.raises(CheckpointError, match=rf"{name} is {str(dtype)[6:]}.*quantised"):
        load(model_dir)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_of_any_float_type_are_loaded_as_any(model_dir, stored, wanted):
    edit_tensors(model_dir, lambda tensors: tensors.update(_cast(tensors, stored)))
    expected = load_file(model_dir / "model.safetensors")["model.embed_tokens.weight"]
    assert expected.dtype == stored

    weights = load_weights(model_dir, load_spec(model_dir), wanted, CPU)

    assert torch.equal(weights.embedding, expected.to(wanted))
    assert {weights.layers[0].qkv.dtype, weights.layers[0].input_norm.dtype} == {wanted}


def _cast(tensors, dtype):
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def test_a_tied_head_may_be_repeated(model_dir):
    edit_tensors(model_dir, lambda tensors: tensors.update(_head(tensors)))

    assert torch.equal(load(model_dir).head, load(model_dir).embedding)


def test_a_tied_head_that_differs_is_refused(model_dir):
    edit_tensors(model_dir, lambda tensors: tensors.update(_head(tensors, 1.0)))

    with pytest.raises(CheckpointError, match="tie_word_embeddings"):
        load(model_dir)


def _head(tensors, difference=0.0):
    return {"lm_head.weight": tensors["model.embed_tokens.weight"] + difference}


def test_memory_that_is_not_there_is_said_before_loading(model_dir):
    spec = load_spec(model_dir)
    needed = weight_bytes(spec, torch.float32)

    with pytest.raises(CheckpointError, match=r"need .* GiB on cpu and 0.00 GiB are free"):
        load_weights(model_dir, spec, torch.float32, CPU, lambda _: needed - 1)
    load_weights(model_dir, spec, torch.float32, CPU, lambda _: needed)


def test_an_allocation_that_fails_says_what_was_needed():
    with (
        pytest.raises(CheckpointError, match=r"things need 1.00 GiB on cpu and 4.00 GiB are free"),
        enough_memory(1 << 30, "things", CPU, lambda _: 4 << 30),
    ):
        torch.empty(1 << 62, dtype=torch.uint8)


def test_other_faults_while_loading_pass_through():
    with (
        pytest.raises(RuntimeError, match="must match"),
        enough_memory(1, "things", CPU, lambda _: 1),
    ):
        torch.ones(2) + torch.ones(3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bytes_of_the_weights_are_counted_exactly(models, variant):
    directory, model = models(variant)

    counted = weight_bytes(load_spec(directory), torch.float32)

    assert counted == 4 * sum(p.numel() for p in model.parameters())
    assert 0 < free_bytes(CPU) < 1 << 62


@pytest.fixture
def sharded_dir(models, tmp_path):
    models("qwen3-sliding")[1].save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    return tmp_path


def edit_index(directory, edit):
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index["weight_map"])
    path.write_text(json.dumps(index))


def test_a_sharded_checkpoint_equals_a_single_file(models, sharded_dir):
    sharded, single = load(sharded_dir), load(models("qwen3-sliding")[0])

    assert torch.equal(sharded.embedding, single.embedding)
    assert all(
        torch.equal(a.qkv, b.qkv) for a, b in zip(sharded.layers, single.layers, strict=True)
    )


def test_a_missing_shard_is_named(sharded_dir):
    shard = min(sharded_dir.glob("*.safetensors"))
    shard.unlink()

    with pytest.raises(CheckpointError, match=rf"{shard.name}: no such file, though .*index"):
        load(sharded_dir)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda names: names.pop("model.norm.weight"), "see model.norm.weight"),
        (lambda names: names.update(other=names["model.norm.weight"]), "see other"),
        (lambda names: names.update(other="../model.safetensors"), "in a file beside it"),
        (lambda names: names.clear(), "no weight_map"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(sharded_dir, edit, message):
    edit_index(sharded_dir, edit)

    with pytest.raises(CheckpointError, match=message) as error:
        load(sharded_dir)
    assert_one_line(error)


def test_a_truncated_shard_is_named(sharded_dir):
    shard = min(sharded_dir.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-10])

    with pytest.raises(CheckpointError, match=shard.name):
        load(sharded_dir)


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
