"""Pure parts: no server is needed."""
