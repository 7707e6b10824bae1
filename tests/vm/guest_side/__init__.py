"""What runs in guests; the host only reads the names from here."""
