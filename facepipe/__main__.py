"""`python -m facepipe` is the `facepipe` command."""

from facepipe.cli import main

if __name__ == "__main__":
    main()
