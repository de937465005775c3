"""ZVT Crypto: market data you can trust, from the exchange's wire to your own API."""

__version__ = "0.1.0"
