import json

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as HfTokenizer

from workers.engine import CheckpointError, InvalidRequest
from workers.tokenizer import Tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if messages[-1].role != 'user' %}{{ raise_exception('ask something') }}{% endif %}"
    "{% if add_generation_prompt %}<think>{% endif %}"
)
TEXT = "Zoë asks: 日本 is 🇯🇵? naïve 👩‍🚀\n done"


@pytest.fixture
def write(tmp_path):
    """Write a byte-level tokenizer; keywords go to tokenizer_config.json."""

    def write(specials=("<bos>", "<eos>", "<think>", "</think>"), **settings):
        vocabulary = {token: index for index, token in enumerate(specials)}
        for piece in sorted(pre_tokenizers.ByteLevel.alphabet()):
            vocabulary[piece] = len(vocabulary)
        tokenizer = HfTokenizer(models.BPE(vocab=vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        settings = {"bos_token": "<bos>", "eos_token": "<eos>"} | settings
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        return tmp_path

    return write


def test_a_bare_prompt_opens_the_thinking(write):
    tokenizer = Tokenizer(write())

    ids = tokenizer.encode_prompt("hi")

    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.opens_thinking(ids)
    assert tokenizer.decode(ids) == "hi"


def test_a_chat_template_is_applied(write):
    tokenizer = Tokenizer(write(chat_template=TEMPLATE))

    ids = tokenizer.encode_prompt("hi")

    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.decode(ids) == "user: hi\n"
    assert ids == tokenizer.encode_chat([{"role": "user", "content": "hi"}])


def test_a_template_file_wins_over_the_configuration(write):
    directory = write(chat_template=TEMPLATE)
    (directory / "chat_template.jinja").write_text("{{ messages[0].content }}!")

    tokenizer = Tokenizer(directory)

    assert tokenizer.decode(tokenizer.encode_prompt("hi")) == "hi!"


@pytest.mark.parametrize("template", [None, TEMPLATE])
@pytest.mark.parametrize("token", ["</think>", "<eos>"])
def test_special_tokens_from_outside_are_refused(write, template, token):
    tokenizer = Tokenizer(write(chat_template=template))

    with pytest.raises(InvalidRequest, match=token):
        tokenizer.encode_prompt(f"be brief {token} 42")


def test_messages_that_the_template_refuses_are_an_invalid_request(write):
    tokenizer = Tokenizer(write(chat_template=TEMPLATE))

    with pytest.raises(InvalidRequest, match="ask something"):
        tokenizer.encode_chat([{"role": "assistant", "content": "hi"}])


def test_messages_need_a_template(write):
    with pytest.raises(InvalidRequest, match="chat template"):
        Tokenizer(write()).encode_chat([{"role": "user", "content": "hi"}])


def test_a_template_cannot_leave_its_sandbox(write):
    tokenizer = Tokenizer(write(chat_template="{{ messages.__class__.__mro__ }}"))

    with pytest.raises(InvalidRequest, match="unsafe"):
        tokenizer.encode_prompt("hi")


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_streamed_text_is_whole_characters_and_complete(write, step):
    tokenizer = Tokenizer(write())
    ids = tokenizer.encode_prompt(TEXT)[1:-1]
    assert len(ids) > len(TEXT)
    stream = tokenizer.stream()

    pieces = [stream.feed(ids[start : start + step]) for start in range(0, len(ids), step)]

    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert not stream.holds_text


def test_a_character_that_never_ends_comes_with_the_flush(write):
    tokenizer = Tokenizer(write())
    stream = tokenizer.stream()
    ids = tokenizer.encode_prompt("a日")[1:-1]

    assert stream.feed(ids[:-1]) == ""
    assert stream.holds_text
    assert stream.flush() == "a\ufffd"


def test_end_tokens_come_from_every_configuration(write):
    directory = write()
    (directory / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    (directory / "config.json").write_text('{"eos_token_id": 9}')

    assert Tokenizer(directory).special_tokens().eos_ids == {1, 7, 8, 9}


def test_the_wrap_up_is_text(write):
    tokenizer = Tokenizer(write())

    tokens = tokenizer.special_tokens(wrap_up="so: ")

    assert tokenizer.decode(tokens.wrap_up_ids) == "so: "
    assert (tokens.think_open_id, tokens.think_close_id) == (2, 3)


def test_a_tokenizer_without_markers_cannot_think(write):
    tokenizer = Tokenizer(write(specials=("<bos>", "<eos>")))

    assert not tokenizer.can_think
    assert not tokenizer.special_tokens().can_think
    assert not tokenizer.opens_thinking(tokenizer.encode_prompt("hi"))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_an_end_token_of_another_tokenizer_is_refused(write, name):
    directory = write()
    (directory / name).write_text('{"eos_token_id": 151645}')

    with pytest.raises(CheckpointError, match=r"151645.*do not belong together"):
        Tokenizer(directory)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(write):
    directory = write()
    size = 4 + 256

    (directory / "config.json").write_text(json.dumps({"vocab_size": size - 1}))
    with pytest.raises(CheckpointError, match=rf"token {size - 1}.*only {size - 1}"):
        Tokenizer(directory)
    (directory / "config.json").write_text(json.dumps({"vocab_size": size}))
    Tokenizer(directory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", None),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "["),
        ("generation_config.json", "[]"),
        ("chat_template.jinja", "{% if %}"),
    ],
)
def test_a_broken_directory_is_said_in_one_line(write, name, content):
    directory = write()
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_text(content)

    with pytest.raises(CheckpointError) as error:
        Tokenizer(directory)

    assert "\n" not in str(error.value)
    assert str(directory) in str(error.value)
