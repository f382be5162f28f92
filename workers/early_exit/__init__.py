"""Early exit: thinking stops when trial answers, forked from it, are sure and agree."""

from workers.early_exit.controller import EarlyExit
from workers.early_exit.rules import ExitRules

__all__ = ["EarlyExit", "ExitRules"]
