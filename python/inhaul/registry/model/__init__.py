"""The machinery of records: fields, rows, and how they are written."""
