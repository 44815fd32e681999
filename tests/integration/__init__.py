"""One part against the real server that it talks to."""
