"""`leaderboard score` against a pandas and scikit-learn script, whole command against whole script.

200,000 rows of EXPR and of VA in the organisers' form. Both must give the same score to 1e-12. Also the time of
`leaderboard --help`. Run: `python benchmarks/leaderboard.py [--rows 200000] [--repeats 5]`; one line of JSON a case.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from abaw.tracks import TRACKS

SCRIPT = """
import sys
import pandas as pd
track, predicted, truth = sys.argv[1:]
p, t = pd.read_csv(predicted, skiprows=1, header=None), pd.read_csv(truth, skiprows=1, header=None)
both = p.merge(t, on=0)
assert len(both) == len(t)
if track == "expr":
    from sklearn.metrics import f1_score
    print(f1_score(both["1_y"], both["1_x"], labels=range(8), average="macro", zero_division=0))
else:
    def ccc(x, y):
        gap = x.mean() - y.mean()
        return 2 * ((x - x.mean()) * (y - y.mean())).mean() / (x.var(ddof=0) + y.var(ddof=0) + gap**2)
    print((ccc(both["1_x"], both["1_y"]) + ccc(both["2_x"], both["2_y"])) / 2)
"""


def write(path: Path, track: str, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels_ND = rng.uniform(-1, 1, (rows, 2)) if track == "va" else rng.integers(0, 8, (rows, 1)).astype(float)
    images = (f"video{row // 4000}-1920x1080/{row % 4000 + 1:05d}.jpg" for row in range(rows))
    lines = map(TRACKS[track].format_row, images, labels_ND)
    path.write_text("\n".join([",".join(TRACKS[track].submission_header), *lines]) + "\n")


def best_of(command: list[str], repeats: int) -> tuple[float, str]:
    seconds, output = [], ""
    for _ in range(repeats):
        start = time.perf_counter()
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds.append(time.perf_counter() - start)
    return min(seconds), output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    ours = [sys.executable, "-m", "leaderboard"]
    with tempfile.TemporaryDirectory() as folder:
        for track in ("expr", "va"):
            predicted, truth = Path(folder) / f"{track}.txt", Path(folder) / f"{track}_truth.txt"
            write(predicted, track, arguments.rows, 0)
            write(truth, track, arguments.rows, 1)
            score = [*ours, "score", str(predicted), "--track", track, "--truth", str(truth), "--json"]
            script = [sys.executable, "-c", SCRIPT, track, str(predicted), str(truth)]
            command_s, output = best_of(score, arguments.repeats)
            script_s, other = best_of(script, arguments.repeats)
            difference = abs(json.loads(output)["score"] - float(other))
            assert difference <= 1e-12, f"{track}: the scores differ by {difference}"
            result = {"case": f"score {track}", "rows": arguments.rows, "command_s": round(command_s, 3)}
            result |= {"pandas_sklearn_s": round(script_s, 3), "script_over_command": round(script_s / command_s, 2)}
            print(json.dumps(result | {"difference": difference}))
    print(json.dumps({"case": "--help", "command_s": round(best_of([*ours, "--help"], arguments.repeats)[0], 3)}))


if __name__ == "__main__":
    main()
