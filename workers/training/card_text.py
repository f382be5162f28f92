"""The prose of the model card. Ranges and counts come from the code that draws the problems."""

from __future__ import annotations

from workers.training import countdown, lines, teacher, traces, wordings
from workers.training.evaluator import EASY_BUDGET
from workers.training.families import CAPITALS, MAX_TERMS
from workers.training.systems import MAX_Y_FACTOR

HEAD = """\
---
license: apache-2.0
language:
- en
library_name: transformers
pipeline_tag: text-generation
tags:
- reasoning
- thinking-budget
- test-time-compute
- countdown
---

# Ponder reference model

A very small language model whose accuracy depends on how long it thinks. It exists to show and to
test thinking budgets, early exit and routing on any machine; it is good for nothing else. It
thinks between `<think>` and `</think>`, may be cut anywhere there, and then still answers.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("workers/reference")
model = AutoModelForCausalLM.from_pretrained("workers/reference")
question = [{"role": "user", "content": "Reach 24 using each of 3, 5, 6 and 8 once."}]
inputs = tokenizer.apply_chat_template(
    question, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=2000)[0]))
```

Every figure below was written by `python -m workers.training.card`; brackets are 95 % intervals."""

_DATA = """\
## Data

All training text is generated while training runs; nothing was collected. The questions are plain
English in several wordings each, the thinking is that of a teacher program.

| family | what is asked | range | wordings | share of traces |
| --- | --- | --- | --- | --- |
| countdown | reach a target, each number used once | {sizes} numbers from 1 to {most_in}, \
target and every running value from 1 to {most} | {countdown} | {shares[0]:.0%} |
| equation | a linear equation | solutions from 1 to {most_in} | {equation} | {shares[2]:.0%} |
| system | two equations with two unknowns | solutions from 1 to {most_in}, the factor of y in the \
first from 2 to {most_y} | {system} | {shares[3]:.0%} |
| arithmetic | a sum of 2 to {terms} terms, some subtracted | values from 1 to {most} | {sums} | \
{shares[1]:.0%} |
| capital | a capital city | {capitals} countries | {capital} | {shares[4]:.0%} |

For Countdown the teacher tries random chains of operations until one reaches the target, for a
system x = 1, 2, 3, ... until both equations hold. It writes every try in a line of its own, with
its number, the problem once more and a verdict; after the hit it goes over the solution again, \
{low:g} to
{high:g} times as often as it had tried. So every line follows from the one before it, and the model
can think far longer than the windows it was trained on. In {cut:.0%} of the traces the thinking is
cut at a random token and closed with a true answer; such closes are not learned, only what follows
them: the model learns to answer when it is cut, without learning to give up by itself. Rows of bare
arithmetic and of hits alone drill what a search needs most and shows least.

Test questions come from reasoning-gym where it has the family: Countdown in its wordings one time
in four and always by its scorer, equations (`simple_equations`) and sums (`chain_sum`) one time in
two by its generator and scorer. Other answers are checked by putting them into the problem.

**Splits.** A hash of the problem, whatever the order of its numbers, puts it in training (80 %),
validation (5 %) or test (15 %). Every draw looks at that hash, so no problem of one split occurs
in another; a test holds it. Capitals are facts to remember and have no held-out split: for them
only the choice of wording varies."""


def data() -> str:
    """Return the section on the data, with the ranges that the generators use."""
    return _DATA.format(
        sizes=f"{countdown.SIZES[0]} to {countdown.SIZES[-1]}",
        most_in=countdown.MAX_INPUT,
        most=countdown.MAX_VALUE,
        countdown=len(wordings.COUNTDOWN) + len(wordings.reasoning_gym_countdown()),
        equation=len(wordings.EQUATION) + len(wordings.reasoning_gym_equations()),
        sums=len(wordings.ARITHMETIC) + 1,
        system=len(wordings.SYSTEM),
        terms=MAX_TERMS,
        most_y=MAX_Y_FACTOR,
        capitals=len(CAPITALS),
        capital=len(wordings.CAPITAL),
        shares=teacher.MIXTURE,  # in the order of teacher.WRITERS
        low=lines.PASSES_PER_ATTEMPT[0],
        high=lines.PASSES_PER_ATTEMPT[1],
        cut=traces.CUT_SHARE,
    )


REPRODUCE = """\
`training.json` holds all settings. One command makes everything here, goes on where it was
interrupted, and writes the model with this card into `runs/reference/model`:

```sh
python -m workers.training.reproduce --run-dir runs/reference
```"""

TARGETS = """\
Of the mix of Countdown problems with 4, 5 and 6 numbers, as many of each, unless the line says
otherwise. A target counts as met by the measured value; the interval says how sure that is."""

ORACLE = """\
Share of right answers, scored by reasoning-gym's own Countdown scorer. The oracle is the teacher's
own random search on the same problems, with the same tokens per line and without any mistake. It
does not guess when its budget ends, the model does."""

METHOD = """\
## How it was measured

Split: {split}. Temperature {temperature:g}, seed {seed}; {minutes:.1f} minutes on {device}.
Each problem is thought about once, at 10,000 tokens, and cut at every smaller budget.

- Shares have Wilson intervals. AUROC, ECE (15 bins of equal mass), gains, gaps and overthinking
  have bootstrap intervals over problems, 1,000 resamples with a fixed seed.
- Answer confidence is the geometric mean probability of the answer's tokens, over answers that
  were forced at {cuts} random tokens of the thinking about each problem. The AUROC is that of the
  mean itself. The ECE is that of `confidence.json`, which says for each mean how often such answers
  were right on the validation split; "without map" takes the mean itself for a probability. "At
  tiers" are answers that were forced at {tiers} thinking tokens, where the
  thinking had not ended.
- False hits count lines that say "yes" and do not reach the target with the given numbers; passes
  over an earlier hit are not counted again, nor are their steps: they copy. "Gave up" is thinking
  that the model closed by itself without any hit. Steps by position go by the thinking token at
  which their line starts; "of those beyond 5000" are the early steps of the problems that were
  thought about for so long.
- Overthinking is the share of thinking tokens after the first line that truly hits, over problems
  with such a line; "by problem" is the mean of each problem's share instead.
- Markers in answers are kept out by the sampler of Ponder's engine, not by the weights."""

GAVE_UP = """\
Of the problems of the mix that it stopped thinking about by itself, it had found no solution in \
{share}: its answer is a guess then, whatever budget was left."""


def weaknesses() -> list[str]:
    """Return what is true of the model whatever its figures."""
    return [
        "When it is cut before a hit its answer is a guess: well formed, seldom right.",
        f"Numbers above {countdown.MAX_VALUE} are spelled in bytes it never learned to reckon "
        "with; negative values and fractions do not occur.",
        "It knows the wordings above and nothing else: any other question gets an answer of one "
        "of these kinds.",
        f"It knows {len(CAPITALS)} capitals by heart, and their accuracy says nothing about "
        "countries it has not seen.",
        f"The easy families are measured at {EASY_BUDGET} thinking tokens only.",
        "Greedy decoding repeats the same attempt: sample, as `generation_config.json` does.",
        "It answers one question at a time: its chat template drops all earlier turns.",
        "Its chains use the numbers one at a time: a target that needs brackets such as "
        "(1 + 2) * (3 + 4) is out of its reach, and none such is asked here.",
    ]


LICENCE = """\
## Licence

Apache-2.0, weights, code and generated data."""
