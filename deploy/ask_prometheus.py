"""python -m deploy.ask_prometheus URL: does every panel get data from this Prometheus?

For a stack that runs and was asked something, with its metrics in that Prometheus.
"""

import argparse
import sys
from pathlib import Path

from deploy.checks.answers import Answer, ask_all, shipped_queries
from deploy.checks.panels import draw

MONITORING = Path(__file__).resolve().parent / "monitoring"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1: an expression was refused, or gave nothing though ours should tell it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("--svg", type=Path, help="draw the panels into this file, by matplotlib")
    parser.add_argument("--minutes", type=float, default=30.0, help="how far back the picture goes")
    options = parser.parse_args(arguments)
    asked = list(shipped_queries(MONITORING))
    answers = list(ask_all(options.url, asked))
    for answer in answers:
        print(f"{_verdict(answer):>12}  {answer.query.place}: {answer.query.expression}")
    missing = [answer for answer in answers if not answer.num_series and not answer.is_excused]
    print(f"{len(answers)} expressions, {len(missing)} of them without data that should be there")
    if options.svg:
        draw(options.url, asked, options.svg, options.minutes * 60)
    return int(bool(missing))


def _verdict(answer: Answer) -> str:
    if answer.error:
        return f"refused ({answer.error})"
    if not answer.num_series and answer.is_excused:
        return "not ours"
    return f"{answer.num_series} series" if answer.num_series else "nothing"


if __name__ == "__main__":
    sys.exit(main())
