"""What a benchmark writes: JSON that every reader takes."""

import json

from ponder.figures import BenchReport


def test_what_was_not_seen_is_null_and_not_a_number_that_json_has_not(tmp_path):
    path = tmp_path / "report.json"
    report = BenchReport(
        name="any",
        figures={"seen": 1.5, "unseen": float("nan")},
        intervals={"seen": (1.0, float("inf"))},
        controls={"low": float("-inf")},
    )
    report.write_json(str(path))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found["figures"] == {"seen": 1.5, "unseen": None}
    assert found["intervals"] == {"seen": [1.0, None]}
    assert found["controls"] == {"low": None}
