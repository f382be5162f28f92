"""Run by another interpreter, which has thinkbudget and litellm but not this project.

Reads a JSON list of prompts, prints {router: [[tier 0 to 3, score], ...]} on the last line.
"""

import json
import sys

from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
from thinkbudget.classifier import QueryClassifier

# Both have five tiers; the two lowest are our simple.
_THINKBUDGET = {"trivial": 0, "simple": 0, "moderate": 1, "complex": 2, "deep": 3}
_LITELLM = {"NON_REASONING": 0, "SIMPLE": 0, "MEDIUM": 1, "COMPLEX": 2, "REASONING": 3}


def main() -> None:
    prompts = json.load(sys.stdin)
    thinkbudget = QueryClassifier()
    litellm = ComplexityRouter(model_name="any", litellm_router_instance=None)
    found: dict[str, list[tuple[int, float]]] = {"thinkbudget": [], "litellm": []}
    for prompt in prompts:
        tier = thinkbudget.classify(prompt).tier
        found["thinkbudget"].append((_THINKBUDGET[tier.value], _THINKBUDGET[tier.value]))
        tier, score, _ = litellm.classify(prompt)
        found["litellm"].append((_LITELLM[tier.value], score))
    print(json.dumps(found))


main()
