"""Fit OpenDSM's hourly model to one meter; run by a Python that has it (`benchmarks.regression_check`).

    python benchmarks/opendsm_hourly.py < METER > FIGURES

JSON in: `starts`, `energy_wh` (null = unknown, or held out) and `celsius`, an hour each. JSON out: `predicted_wh`
(null: it has no model of this meter), and `seconds` of the second fit and prediction, the first having compiled what it
compiles; without a model, those until it gave up.
"""

import contextlib
import io
import json
import math
import sys
import time
import warnings

import pandas as pd
from opendsm.eemeter import HourlyBaselineData, HourlyModel, HourlyReportingData


def main() -> None:
    """Read, fit twice, write."""
    warnings.simplefilter("ignore")
    meter = json.load(sys.stdin)
    index = pd.DatetimeIndex(meter["starts"], name="datetime")
    energy = [math.nan if one is None else one / 1000 for one in meter["energy_wh"]]
    fahrenheit = [one * 1.8 + 32 for one in meter["celsius"]]
    frame = pd.DataFrame({"temperature": fahrenheit, "observed": energy}, index=index)
    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(2):
            begun = time.perf_counter()
            known = HourlyBaselineData(frame, is_electricity_data=True)
            try:
                model = HourlyModel().fit(known, ignore_disqualification=True)
            except ValueError as error:  # of some meters it keeps no coefficient, and refuses its own figures
                print(error, file=sys.stderr)
                json.dump({"predicted_wh": None, "seconds": time.perf_counter() - begun}, sys.__stdout__)
                return
            asked = HourlyReportingData(frame, is_electricity_data=True)
            found = model.predict(asked, ignore_disqualification=True)
            seconds = time.perf_counter() - begun
    predicted = [None if math.isnan(one) else one * 1000 for one in found["predicted"].reindex(index)]
    json.dump({"predicted_wh": predicted, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
