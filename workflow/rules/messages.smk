"""What is printed beside Snakemake's own lines: how far the study is, and what failed with the end of its log."""

import re
import subprocess
import sys

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

STUDY = ".snakemake/study.json"  # the config; written when a run begins, so that what is older is no work of it
LAST_LINES, MOST_FILES = 10, 8


def print_status(*more):
    """Print what `tta-pipeline status` says; False where the Python of Snakemake lacks what that needs."""
    command = [sys.executable, "-m", "tta_pipeline", "status", "--study", STUDY, *more]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    works = said.returncode in (0, 2)  # 2: jobs failed, which it names
    if works:
        print(said.stdout + said.stderr, end="", flush=True)
    return works


def print_cut_off():
    """Print the last lines of the logs of this run that have no result beside them."""
    began = Path(STUDY).stat().st_mtime
    for log in sorted(Path("logs").rglob("*.log")):
        if hasattr(rules, log.parts[1]) and log.stat().st_mtime >= began and not has_result(log):
            print(f"{log}, which has no result, ends so:", *last_lines(log), sep="\n  ", flush=True)


def has_result(log):
    name = log.relative_to("logs").with_suffix("")
    stage = name.parts[0]
    alone = [f"{stage}.h5", f"{stage}.tsv", f"{stage}/patients.tsv", f"{stage}/index.html"]
    return any(Path("results", made).is_file() for made in (f"{name}.h5", f"{stage}/batches/{name.name}.tsv", *alone))


def last_lines(log):
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text.splitlines()[-LAST_LINES:] or ["nothing"]


def shorten(record):
    """Of a job its stage, log and first files, not the kilobytes of its command, nor the names of a thousand inputs."""
    command = r"(python -m tta_pipeline \w+) .* 2> (\S+)"
    failed = rf"(?s)Command '.*?{command}' (returned|died)"
    if isinstance(record.msg, str) and (found := re.search(failed, record.msg)):
        stage, log, how = found.groups()
        ends = "".join(f"\n  {line}" for line in last_lines(Path(log)))
        record.msg = f"{record.msg[:found.start()]}{stage} {how}{record.msg[found.end():]}\n{log} ends so:{ends}"
    for kind in ("input", "output"):
        files = getattr(record, kind, None) or []
        if len(files) > MOST_FILES:
            setattr(record, kind, [*files[:MOST_FILES], f"and {len(files) - MOST_FILES} more"])
    if getattr(record, "shellcmd", None):
        record.shellcmd = re.sub(command, r"\1 ... 2> \2", record.shellcmd, flags=re.DOTALL)
    return True


PLANNED, STARTED, FINISHED = {}, {}, {}  # jobs by rule; rule and wildcards by job; those that have ended, by rule


def count(record):
    """A job that has ended is told by its batch or fit, with how many of its stage have, and slides where it has some."""
    event = getattr(record, "event", None)
    if event == LogEvent.RUN_INFO:
        PLANNED.update(record.stats)
    elif event == LogEvent.JOB_INFO:
        STARTED[record.jobid] = (record.rule_name, record.wildcards)
    elif event == LogEvent.JOB_FINISHED and record.job_id in STARTED:
        stage, wildcards = STARTED[record.job_id]
        ended = FINISHED.setdefault(stage, {})
        ended[record.job_id] = wildcards
        count_of = f"{len(ended)} of {PLANNED.get(stage, '?')}"
        record.msg = f"{stage}{named(wildcards)}: {count_of}{slides_done(ended.values())}"
    return True


def named(wildcards):
    if "model" in wildcards:
        return " {model}/r{repeat}_f{fold}_s{seed}".format(**wildcards)
    return "".join(f" {value}" for value in wildcards.values())


def slides_done(ended):
    done = sum(len(batches()[wildcards["batch"]]) for wildcards in ended if "batch" in wildcards)
    return f" ({done} of {len(slides_to_encode())} slides of the sheet)" if done else ""


logger.addFilter(shorten)
logger.addFilter(count)
