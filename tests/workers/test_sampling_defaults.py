import json

import pytest

from workers.engine import CheckpointError
from workers.sampling_defaults import FILE_NAME, SamplingDefaults


def write(directory, content: str):
    (directory / FILE_NAME).write_text(content)
    return directory


def test_a_model_without_the_file_is_greedy(tmp_path):
    assert SamplingDefaults.load(tmp_path) == SamplingDefaults(temperature=0.0, top_p=1.0)


def test_a_model_that_samples_brings_its_temperature(tmp_path):
    config = {"do_sample": True, "temperature": 0.6, "top_p": None}

    defaults = SamplingDefaults.load(write(tmp_path, json.dumps(config)))

    assert defaults == SamplingDefaults(temperature=0.6, top_p=1.0)


def test_a_temperature_counts_only_for_a_model_that_samples(tmp_path):
    directory = write(tmp_path, json.dumps({"do_sample": False, "temperature": 0.6}))

    assert SamplingDefaults.load(directory).temperature == 0.0


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"do_sample": true, "temperature": -1}', '{"do_sample": true, "top_p": "x"}'],
)
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    with pytest.raises(CheckpointError, match=FILE_NAME):
        SamplingDefaults.load(write(tmp_path, content))
