import json

import pytest

from workers.early_exit import ExitRules
from workers.early_exit.rules import FILE_NAME
from workers.errors import EarlyExitFileError


def test_rules_survive_their_file(tmp_path):
    rules = ExitRules(separators=("\n", "Wait"), agreement=3, give_up_confidence=0.1)
    (tmp_path / FILE_NAME).write_text(json.dumps({"rules": rules.to_json()}))

    assert ExitRules.load(tmp_path) == rules


def test_a_model_without_a_file_has_no_rules(tmp_path):
    assert ExitRules.load(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", FILE_NAME),
        ("[]", FILE_NAME),
        ('{"rules": {"confidence": 2}}', "confidence"),
        ('{"rules": {"confidence": null}}', "NoneType"),
        ('{"rules": {"confidense": 0.9}}', "confidense is no rule"),
        ('{"rules": {"agreement": 1.5}}', "agreement"),
        ('{"rules": {"separators": "abc"}}', "separators"),
        ('{"rules": {"separators": [""]}}', "separators"),
        ('{"rules": {"max_entropy": NaN}}', "max_entropy"),
        ('{"rules": {"backoff": 0.5}}', "backoff"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_fault(tmp_path, content, named):
    (tmp_path / FILE_NAME).write_text(content)

    with pytest.raises(EarlyExitFileError, match=named):
        ExitRules.load(tmp_path)


def test_every_rule_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"agreement.*min_gap_tokens.*repetition"):
        ExitRules(agreement=0, min_gap_tokens=0, repetition=-1.0)
