"""`python -m sslx` is `sslx`."""

import sys

from sslx.cli import main

sys.exit(main())
