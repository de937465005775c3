"""REST, one file a noun, under /api/v1/crypto."""
