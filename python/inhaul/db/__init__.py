"""Where rows live: the tables, the engine, and the statements that move rows in bulk."""
