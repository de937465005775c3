"""A market made of arithmetic: matching, order flow, a past. Pure and seeded: chance comes in as an argument."""
