"""The registry database: its tables, the engine, and bulk statements."""
