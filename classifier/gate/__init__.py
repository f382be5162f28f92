"""The gate: a new classifier is let in only when the logs say that it is better.

rows         logged requests, and which of them judge
reading      the same from files and from the ledger
resampling   bootstrap intervals over prompts
checks       graph, ranking, losses, calibration, value: one Check each
judge        runs them all; the entry for programs
report       the verdict as a table, Markdown and JSON
command      `ponder classifier gate`
"""
