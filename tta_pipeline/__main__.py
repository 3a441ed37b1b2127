"""`python -m tta_pipeline` and the `tta-pipeline` command."""

import sys

from tta_pipeline.cli import run


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
