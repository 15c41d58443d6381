"""`python -m csrec_core` is `csrec`."""

from csrec_core.cli import main

if __name__ == "__main__":
    main()
