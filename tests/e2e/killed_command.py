"""`okawari`, killed before one of its steps: `python -m tests.e2e.killed_command STEP promote m v1 --yes`."""

import sys

from cli.main import main
from tests.support.kill_steps import KillSteps

if __name__ == "__main__":
    steps = KillSteps(int(sys.argv[1]))
    steps.watch()
    steps.begin()
    main(sys.argv[2:], prog_name="okawari")
