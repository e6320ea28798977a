"""What storages on a network share: limits, retries, faults, addresses, downloads, uploads in parts."""
