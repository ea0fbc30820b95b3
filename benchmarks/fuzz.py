"""Coverage-guided fuzzing of a reader: whatever the bytes, a value comes back or one clear error.

    pip install ".[fuzz]" && python benchmarks/fuzz.py wav --seconds 600

Atheris starts from the good input of tests/bad_inputs.py and keeps what reaches new code in
``--corpus``, for the next run to start from. It ends with exit code 0 after so many seconds; what
breaks the reader, hangs or takes 2 GB is written to a file named ``crash-``, ``timeout-`` or
``oom-`` beside the corpus, and ends it earlier.
"""

import csv
import gzip
import inspect
import json
import resource
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from numpy.lib import _format_impl as npy

try:
    import atheris
except ImportError:
    raise SystemExit('fuzzing needs atheris: pip install ".[fuzz]"') from None

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

OURS = [
    "mmjax.storage.reading",
    "mmjax.report",
    "mmjax.runs.run_file",
    "mmjax.runs.settings",
    "mmjax.tasks",
]

with atheris.instrument_imports(include=OURS):
    from bad_inputs import KINDS, check_good, is_clear

    from mmjax.errors import MmjaxError

for parser in (csv, gzip, json.decoder, npy, zipfile):
    for function in filter(inspect.isfunction, vars(parser).values()):
        atheris.instrument_func(function)


@dataclass(frozen=True)
class Fuzz:
    """What the command line sets.

    Attributes:
        kind: what is read; tests/bad_inputs.py has the kinds.
        seconds: how long.
        corpus: folder of inputs that is read and added to; by default a temporary one.
    """

    kind: tyro.conf.Positional[str]
    seconds: int = 60
    corpus: Path | None = None


def main(fuzz: Fuzz) -> None:
    """Fuzzes until the time is over, and ends the process."""
    if fuzz.kind not in KINDS:
        raise SystemExit(f"kind: expected one of {', '.join(KINDS)}, got {fuzz.kind!r}")
    check_good(fuzz.kind)
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = fuzz.corpus or place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    kind, names = KINDS[fuzz.kind], list(KINDS[fuzz.kind].good())
    kind.write(place, {})
    for index, content in enumerate(kind.good().values()):
        (corpus / f"good-{index}").write_bytes(bytes([index]) + content)

    def one_input(data: bytes) -> None:
        """Puts the bytes in the place of one of the files, which the first of them chooses."""
        name = names[data[0] % len(names)] if data else names[0]
        (place / name).write_bytes(data[1:])
        try:
            kind.read(place)
        except MmjaxError as error:
            if not is_clear(error):
                raise AssertionError(f"not clear: {error}") from error
        finally:
            (place / name).write_bytes(kind.good()[name])

    limits = [f"-max_total_time={fuzz.seconds}", "-timeout=10", "-malloc_limit_mb=2048"]
    # libFuzzer looks at the peak of the process, which begins with that of the one that started it.
    limits += [f"-rss_limit_mb={2048 + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}"]
    prefix = f"-artifact_prefix={corpus.parent}/"
    atheris.Setup([sys.argv[0], *limits, prefix, "-max_len=65536", str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(tyro.cli(Fuzz))
