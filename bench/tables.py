"""How fast a table of 34 MB with wide columns is read, beside polars, and how much memory training on it takes.

    cargo build --release && cargo bench -p rappel-data --bench table --no-run
    python3 bench/tables.py target/release/rappel target/release/deps/table-HASH

Wants `pip install polars`. The file: 250,000 rows; an id, 8 numbers, names of 5, 300 and 20,000 kinds, a
time stamp, and a price that hangs on them.
"""

import csv
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 250_000


def write(path):
    draw = random.Random(7)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", *(f"x{i}" for i in range(8)), "colour", "town", "street", "seen", "price"])
        for row in range(ROWS):
            numbers = [round(draw.gauss(0, 1), 4) for _ in range(8)]
            colour, town, street = (draw.randrange(of) for of in (5, 300, 20_000))
            seen = f"2024-{draw.randrange(12) + 1:02}-{draw.randrange(28) + 1:02} {draw.randrange(24):02}:30:00"
            price = round(sum(numbers) + colour + town % 7 + street % 3 + draw.gauss(0, 0.1), 3)
            names = [f"colour {colour}", f"town {town}", f"street number {street}"]
            table.writerow([f"customer-{row}", *numbers, *names, seen, price])


def median(run):
    def timed():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return statistics.median(timed() for _ in range(5))


def train(binary, table, folder):
    config = folder / "c.toml"
    config.write_text(f"""
        task = "regression"
        out = "{folder / "run"}"
        telemetry.sinks = []
        data = {{ file = "{table}", target = "price", exclude = ["id"], dates = ["seen"] }}
        model = {{ name = "mlp", hidden_sizes = [64] }}
        optimizer = {{ name = "adamw", lr = 3e-3 }}
        train = {{ steps = 500, batch_size = 1024, eval_every = 250 }}
    """)
    done = subprocess.run([binary, "train", config, "--json"], check=True, capture_output=True, text=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return json.loads(done.stdout.splitlines()[-1]), peak


def main():
    binary, reader = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = folder / "table.csv"
        write(table)
        print(f"{ROWS} rows, {table.stat().st_size / 1e6:.1f} MB")
        report, peak = train(binary, table, folder)
        print(f"trained 500 steps; peak memory {peak:.0f} MB; {json.dumps(report)}")
        import polars

        ours = float(subprocess.run([reader, table], check=True, capture_output=True, text=True).stdout)
        theirs = median(lambda: polars.read_csv(table))
        print(f"read in {ours:.3f} s; polars {polars.__version__} {theirs:.3f} s; ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
