"""``python -m xport`` is the command line."""

from xport.cli import main

main()
