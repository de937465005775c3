"""`python -m zvt_crypto`: the command line, where its script is not on the path."""

from zvt_crypto.cli.main import main

main()
