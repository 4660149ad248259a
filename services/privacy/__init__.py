"""Personal data: its detection, the vault of replaced values, sealed requests."""
