"""Relay's systemd units: the files of this folder, filled in for one machine."""

from relay.systemd.units import FOLDER, Place, Unit, unit

__all__ = ["FOLDER", "Place", "Unit", "unit"]
