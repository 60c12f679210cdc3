"""`python -m workloads`, from the checkout."""

from scalesim.workloads.cli import main

if __name__ == "__main__":
    main()
