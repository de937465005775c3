"""Binance's public protocol, spot and USD-M, as a server speaks it."""
