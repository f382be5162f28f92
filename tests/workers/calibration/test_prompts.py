"""Prompts from a file, and what counts as the same answer."""

import pytest

from workers.calibration.prompts import CalibrationPrompt, read_prompts


def write(tmp_path, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    return path


def test_a_known_answer_decides(tmp_path):
    path = write(tmp_path, '{"prompt": "6 x 7?", "answer": "42"}\n\n')
    [prompt] = read_prompts(path)

    assert prompt.is_kept("It is **42**.", "42")
    assert not prompt.is_kept("421", "42")
    assert prompt.is_kept("17", "18")  # there was nothing to lose


def test_without_an_answer_thinking_on_decides():
    prompt = CalibrationPrompt("6 x 7?")

    assert prompt.is_kept(" 42 ", "The answer is\n\\boxed{42}. ")
    assert not prompt.is_kept("4", "The answer is 42.")
    assert not prompt.is_kept("", "The answer is 42.")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "holds no prompt"),
        ("{", ":1"),
        ('{"prompt": "a"}\n[1]', ":2"),
        ('{"prompt": ""}', "prompt must be"),
        ('{"prompt": "a", "answer": 3}', "answer must be"),
        ('{"prompt": "a", "answer": "."}', "answer must be"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, text, named):
    with pytest.raises(ValueError, match=named):
        read_prompts(write(tmp_path, text))
