"""testdata/tensorboard_{fresh,resumed}.tfevents: event files by TensorBoard's own messages and record writer.

EVENTS stands again in crates/telemetry/tests/tensorboard.rs, which logs the same and compares every byte.
"""

import io

from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from common import TESTDATA

OPENED = 1_700_000_000.25
RESUMED_LAST_STEP = 300
EVENTS = [
    (0, 1_700_000_001.0, [("train/loss", 4.25)]),
    (1, 1_700_000_001.5, [("train/loss", 4.0), ("train/lr", 3e-4), ("train/grad_norm", 0.0)]),
    (300, 1_700_000_002.75, [("eval/größe", -0.0), ("a" * 300, 1e-40)]),
    (2**40, 1_700_000_003.0, [("nan", float("nan")), ("up", float("inf")), ("down", float("-inf")), ("big", 1e39)]),
]


def write(name, last_step):
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)

    def add(event):
        writer.write(event.SerializeToString())

    add(Event(wall_time=OPENED, file_version="brain.Event:2", source_metadata=SourceMetadata(writer="rappel")))
    if last_step is not None:
        # As in SummaryWriter(purge_step=...): steps from this one on come again.
        add(Event(wall_time=OPENED, step=last_step + 1, session_log=SessionLog(status=SessionLog.START)))
    for step, wall_time, values in EVENTS:
        if last_step is None or step > last_step:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
            add(Event(wall_time=wall_time, step=step, summary=summary))
    (TESTDATA / name).write_bytes(buffer.getvalue())
    print(f"wrote testdata/{name}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    write("tensorboard_fresh.tfevents", None)
    write("tensorboard_resumed.tfevents", RESUMED_LAST_STEP)
