"""`python -m cli` does what `okawari` does."""

from cli.main import run

run()
