"""Prompts are rendered as transformers renders them."""

import json

import pytest
from transformers import AutoTokenizer

from tests.workers.tiny_model import save_tiny_model
from workers.chat_template import ChatTemplate
from workers.engine import CheckpointError
from workers.tokenizer import Tokenizer

MESSAGES = [
    {"role": "system", "content": 'Be brief & use "1 < 2".'},
    {"role": "user", "content": "Was ist 日本?"},
    {"role": "assistant", "content": "A country."},
    {"role": "user", "content": "  and 6 * 7?\n"},
]
TEMPLATES = {
    "whitespace": (
        "{%- for m in messages %}\n  {{- m.role + ':' }}\n  {% if loop.last %}\n"
        "last {{ m.content | trim }}\n  {% endif %}\n{%- endfor %}"
    ),
    "special tokens": (
        "{{ bos_token }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
        "{{ unk_token }}{% if pad_token is defined %}padded{% endif %}"
    ),
    "absent tools": (
        "{% if tools %}tools{% endif %}{% if tools is defined and tools is not none %}"
        "some{% endif %}{% if documents is none %}none{% endif %}"
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    ),
    "json": "{% for m in messages %}{{ m | tojson }}{{ m | tojson(indent=2) }}{% endfor %}",
    "loop controls": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% continue %}{% endif %}"
        "{{ m.content }}{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}"
    ),
    "generation": (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}"
        "{% endif %}{% endfor %}"
    ),
    "namespace": (
        "{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}"
        "{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}"
        "{{ m.content.split('and')[-1].lstrip() }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
    ),
    "date": "{{ strftime_now('%Y-%m') }}{{ strftime_now is defined }}",
}


@pytest.fixture
def model_dir(tmp_path):
    save_tiny_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    return tmp_path


def set_template(directory, template):
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"chat_template": template}
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_ids_equal_those_of_transformers(model_dir, template):
    set_template(model_dir, template)
    reference = AutoTokenizer.from_pretrained(model_dir)
    expected = reference.apply_chat_template(
        MESSAGES, add_generation_prompt=True, return_dict=False
    )

    found = Tokenizer(model_dir).encode_chat(MESSAGES)

    assert found == expected
    assert found  # every template says something


def test_the_default_of_several_templates_is_taken(model_dir):
    several = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "hello"}]
    set_template(model_dir, several)
    tokenizer = Tokenizer(model_dir)

    assert tokenizer.decode(tokenizer.encode_chat(MESSAGES)) == "hello"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ([{"name": "tool_use", "template": "x"}], "none of them called default"),
        ([{"name": "default"}], "broken"),
        (7, "must be text"),
        ("{% for %}", "broken"),
    ],
)
def test_a_broken_template_is_said_at_the_start(model_dir, template, message):
    set_template(model_dir, template)

    with pytest.raises(CheckpointError, match=message):
        Tokenizer(model_dir)


def test_special_tokens_of_older_checkpoints_are_found(model_dir):
    path = model_dir / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    names = {name: settings.pop(name) for name in ("bos_token", "eos_token")}
    path.write_text(json.dumps(settings))
    (model_dir / "special_tokens_map.json").write_text(
        json.dumps({name: {"content": text} for name, text in names.items()})
    )
    set_template(model_dir, "{{ bos_token }}{{ eos_token }}")

    tokenizer = Tokenizer(model_dir)

    assert tokenizer.encode_chat(MESSAGES) == [tokenizer.bos_id, *tokenizer.eos_ids]


def test_a_model_without_a_template_has_none(tmp_path):
    assert ChatTemplate.load(tmp_path, {}, {}) is None
