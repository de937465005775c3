"""Where rows rest: PostgreSQL, live state in memory, files."""
