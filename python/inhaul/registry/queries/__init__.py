"""Finding records: lookups, query sets, and relations between records."""
