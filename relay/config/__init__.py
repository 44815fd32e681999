"""Configuration: the environment and the flags, read once into one frozen `Settings`.

`variables.VARIABLES` is the table of all that can be set: the flags of the roles, `relay doctor` and the README follow it.
`load` reads, parses and then checks how the values go together, and refuses all that is wrong at once. Where a value came
from is kept with it (`Settings.origins`). Secrets may come from files, and appear in no message, repr or log.
"""

from relay.config.loading import load, merge
from relay.config.settings import Settings
from relay.config.variables import VARIABLES, Variable

__all__ = ["VARIABLES", "Settings", "Variable", "load", "merge"]
