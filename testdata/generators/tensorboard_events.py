"""testdata/tensorboard_{fresh,resumed,rich}.tfevents: event files by TensorBoard's own messages and record writer,
and by PyTorch's functions that make summaries.

EVENTS and rich() stand again in crates/telemetry/tests/tensorboard.rs, which logs the same and compares every byte.
What is written is then read by TensorBoard's own reader and compared with the numbers themselves.
"""

import io

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary as torch_summary

from common import TESTDATA

OPENED = 1_700_000_000.25
RESUMED_LAST_STEP = 300
EVENTS = [
    (0, 1_700_000_001.0, [("train/loss", 4.25)]),
    (1, 1_700_000_001.5, [("train/loss", 4.0), ("train/lr", 3e-4), ("train/grad_norm", 0.0)]),
    (300, 1_700_000_002.75, [("eval/größe", -0.0), ("a" * 300, 1e-40)]),
    (2**40, 1_700_000_003.0, [("nan", float("nan")), ("up", float("inf")), ("down", float("-inf")), ("big", 1e39)]),
]


def writer_of(buffer):
    writer = RecordWriter(buffer)

    def add(event):
        writer.write(event.SerializeToString(deterministic=True))

    add(Event(wall_time=OPENED, file_version="brain.Event:2", source_metadata=SourceMetadata(writer="rappel")))
    return add


def save(name, buffer):
    (TESTDATA / name).write_bytes(buffer.getvalue())
    print(f"wrote testdata/{name}: {len(buffer.getvalue())} bytes")


def scalars(values):
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])


def write(name, last_step):
    buffer = io.BytesIO()
    add = writer_of(buffer)
    if last_step is not None:
        # As in SummaryWriter(purge_step=...): steps from this one on come again.
        add(Event(wall_time=OPENED, step=last_step + 1, session_log=SessionLog(status=SessionLog.START)))
    for step, wall_time, values in EVENTS:
        if last_step is None or step > last_step:
            add(Event(wall_time=wall_time, step=step, summary=scalars(values)))
    save(name, buffer)


def hparams(tag, **info):
    data = HParamsPluginData(version=hparams_metadata.PLUGIN_DATA_VERSION, **info)
    value = Summary.Value(tag=tag, tensor=hparams_metadata.NULL_TENSOR)
    value.metadata.plugin_data.plugin_name = hparams_metadata.PLUGIN_NAME
    value.metadata.plugin_data.content = data.SerializeToString(deterministic=True)
    return Summary(value=[value])


def limits():
    """The limits of buckets in torch.utils.tensorboard.SummaryWriter."""
    positive, limit = [], 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(positive)] + [0] + positive


NUMBERS = np.array([(i - 40) * 2.0 ** (i % 23 - 12) for i in range(200)])
SCORED = np.array([i * i % 64 / 64 for i in range(50)]), np.array([i % 3 == 0 for i in range(50)])
CHARTS = {
    "training and validation": {
        "loss": ["Multiline", ["train/loss$", "validation/loss$"]],
        "accuracy": ["Multiline", ["validation/accuracy$"]],
    }
}


def rich():
    start = SessionStartInfo(start_time_secs=OPENED + 1)
    start.hparams["optimizer.lr"].number_value = 3e-4
    start.hparams["optimizer.name"].string_value = "adamw"
    start.hparams["optimizer.nesterov"].bool_value = True
    end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=OPENED + 7)
    histograms = [
        torch_summary.histogram("weights/a", NUMBERS, limits()),
        torch_summary.histogram("gradients/a", np.array([0.25]), limits()),
    ]
    image = Summary.Image(height=1, width=2, colorspace=3, encoded_image_string=b"not really a png")
    end = hparams(hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end)
    return [
        torch_summary.custom_scalars(CHARTS),
        hparams(hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start),
        scalars([("validation/loss", 1.5), ("validation/accuracy", 0.5)]),
        Summary(value=[value for summary in histograms for value in summary.value]),
        torch_summary.text("sample", "*größe*\n\n    code"),
        Summary(value=[Summary.Value(tag="learning rate", image=image)]),
        torch_summary.pr_curve("validation/a", SCORED[1], SCORED[0]),
        Summary(value=[*scalars([("final/loss", 1.25)]).value, *end.value]),
    ]


def write_rich():
    buffer = io.BytesIO()
    add = writer_of(buffer)
    for step, summary in enumerate(rich()):
        add(Event(wall_time=OPENED + step, step=step, summary=summary))
    save("tensorboard_rich.tfevents", buffer)


def read_rich():
    """TensorBoard's own reader finds what was logged."""
    read = EventAccumulator(str(TESTDATA / "tensorboard_rich.tfevents"), size_guidance={"tensors": 0}).Reload()
    [event] = read.Histograms("weights/a")
    found = event.histogram_value
    assert (found.num, found.min, found.max) == (200, NUMBERS.min(), NUMBERS.max())
    assert (found.sum, found.sum_squares) == (NUMBERS.sum(), (NUMBERS**2).sum())
    edges = np.array(found.bucket_limit)
    for at in range(1, len(edges)):
        inside = (NUMBERS >= edges[at - 1]) & (NUMBERS < edges[at])
        assert found.bucket[at] == inside.sum(), at
    assert read.Scalars("final/loss")[0].value == 1.25
    assert read.Images("learning rate")[0].encoded_image_string == b"not really a png"
    curve = np.array(read.Tensors("validation/a")[0].tensor_proto.float_val).reshape(6, 127)
    for at, threshold in enumerate(np.linspace(0, 1, 127)):
        taken = SCORED[0] >= threshold - 1e-12
        assert curve[0, at] == (taken & SCORED[1]).sum() and curve[1, at] == (taken & ~SCORED[1]).sum()
    assert set(read.PluginTagToContent("hparams")) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    assert set(read.PluginTagToContent("text")) == {"sample/text_summary"}
    assert set(read.PluginTagToContent("custom_scalars")) == {"custom_scalars__config__"}
    print("TensorBoard's reader agrees")


if __name__ == "__main__":
    write("tensorboard_fresh.tfevents", None)
    write("tensorboard_resumed.tfevents", RESUMED_LAST_STEP)
    write_rich()
    read_rich()
