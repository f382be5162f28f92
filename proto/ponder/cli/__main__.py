"""`python -m ponder.cli`: the same as `ponder`, with the interpreter that is named."""

from ponder.cli import main

main()
