"""An exchange on loopback: Binance's own protocol over a recording (replay) or a seeded market of our own (market).

Dialects are pure: bytes in, bytes out, time as an argument. Carriers (real sockets, memory on a virtual clock) bring the bytes.
"""
