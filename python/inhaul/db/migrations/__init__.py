"""Changes to the tables, one file per revision."""
