"""What the training of a model costs: parameters, time and memory."""

import pandas as pd

COLUMNS = ["model", "n_fits", "n_parameters", "epochs", "n_jobs", "seconds_per_epoch", "peak_mb"]
_FIT = ["name", "repeat", "fold", "seed"]


def cost_table(fits: pd.DataFrame, jobs: pd.DataFrame) -> pd.DataFrame:
    """One row per model, in the order of `fits`.

    Parameters
    ----------
    fits
        model, name, repeat, fold, seed, n_parameters, epochs, epochs_run of every fit; NaN where it is not known. Of
        a search, the epochs of all combinations. epochs_run: those that its last job trained, fewer where that job took
        up a training that had been cut off.
    jobs
        name, repeat, fold, seed, s, max_rss_mb of the jobs that were measured.

    Returns
    -------
    Columns `COLUMNS`. n_parameters, epochs: means over the fits, which are as a rule equal. n_jobs: fits whose job was
    measured. seconds_per_epoch: mean over these of the job's whole time by the epochs that it trained: the job's
    start-up, the reading of its inputs and the scoring of validation patients are in it. peak_mb: largest resident
    memory of a job, in MiB, as Snakemake samples it (at first every half second, later each half minute); that of a GPU
    is not in it.
    """
    measured = fits.merge(jobs, on=_FIT, how="left")
    measured["seconds_per_epoch"] = measured["s"] / measured["epochs_run"]
    models = measured.groupby("model", sort=False)
    table: pd.DataFrame = models.agg(
        n_fits=("seed", "size"),
        n_parameters=("n_parameters", "mean"),
        epochs=("epochs", "mean"),
        n_jobs=("s", "count"),
        seconds_per_epoch=("seconds_per_epoch", "mean"),
        peak_mb=("max_rss_mb", "max"),
    )
    return table.reset_index()[COLUMNS]


def hours_per_thousand_slides(stages: pd.DataFrame, *, slides: int) -> dict[str, float]:
    """Hours that tiles and features would take for 1,000 slides like these, one job after the other.

    Parameters
    ----------
    stages
        stage and total_s of every stage that was measured. Of a job that was taken up again only its last run counts,
        so that a study with interrupted jobs says too little.
    slides
        Slides that these stages worked on.

    Returns
    -------
    Stage -> hours; nothing without such slides.
    """
    seconds = dict(zip(stages["stage"], stages["total_s"], strict=True))
    return {name: seconds[name] / slides * 1000 / 3600 for name in ("tiles", "features") if name in seconds and slides}
