"""Words: nouns that every other room uses. No I/O, no clock, no decisions."""
