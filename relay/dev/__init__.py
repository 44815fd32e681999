"""`relay dev`: a whole Relay on one machine, from one package."""
