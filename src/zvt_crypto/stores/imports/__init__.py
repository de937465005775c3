"""Files of other tools as rows of ours: freqtrade, Binance Vision, and tables that a user describes."""
