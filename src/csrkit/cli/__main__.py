"""``python -m csrkit.cli``: the console script where none is installed."""

from csrkit.cli import main

main()
