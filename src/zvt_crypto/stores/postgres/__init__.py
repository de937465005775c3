"""PostgreSQL: tables, migrations, one file a noun, and a server of our own for those who have none."""
