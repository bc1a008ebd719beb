"""`team report`: a run as one HTML file that opens from disk, asks no network, and can be printed.

`build` gathers what there is to show as plain data and Plotly figures, `page` puts it into the file, `writer` keeps
the file current while a run goes on. `team.serve` shows the same data live. Nothing here decides anything.

The file holds labels of search-validation: it is for the person who owns the data. It lies in the run's folder, of
which a trial's sandbox opens its own `train.py` and scratch alone, and no role of the team is ever given it.
"""
