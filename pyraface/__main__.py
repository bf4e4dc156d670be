"""python -m pyraface, the same as pyraface."""

import sys

from .client.client import main

if __name__ == "__main__":
    sys.exit(main())
