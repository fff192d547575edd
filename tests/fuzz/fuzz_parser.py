"""Coverage-guided fuzzing of one parser by atheris, which is not a dependency: `pip install 'cnncli[fuzz]'`.

    python tests/fuzz/fuzz_parser.py PARSER [CORPUS] [-max_total_time=600] [other options of libFuzzer]

PARSER is a word of `parsers.PARSERS`. The folder CORPUS, made and filled with the seeds where it is empty, keeps what
reaches new code; what crashes is written as crash-DIGEST.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cnncli", "ruamel.yaml", "PIL", "numpy.lib", "zipfile", "gzip", "json"]):
    from parsers import PARSERS


def main(name: str, *options: str) -> None:
    parser, folders = PARSERS[name], [option for option in options if not option.startswith("-")]
    for folder in map(Path, folders[:1]):
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(parser.seeds() if not any(folder.iterdir()) else ()):
            (folder / f"seed-{number}").write_bytes(seed)

    def one(content: bytes) -> None:
        parser.outcome(parser.repair(content) if parser.repair and content[-1:] < b"\x80" else content)

    atheris.Setup([sys.argv[0], "-timeout=5", "-rss_limit_mb=2048", *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
