"""Functions of tensors that run without Python's lock."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import pytest
import torch

from napari_mobilesam.model.recorded import MOST, Recorded


class Doubled:
    """Doubles a tensor; counts how often Python did it."""

    def __init__(self, weight=None):
        self.calls = 0
        self.weight = torch.tensor(2.0) if weight is None else weight

    def __call__(self, x):
        self.calls += 1
        return x * self.weight, x.sum(1)


@torch.no_grad()
def test_python_runs_once_per_shape():
    double = Doubled()
    run = Recorded(double)
    for shape in [(2, 3), (2, 4)]:
        for value in (1.0, 5.0, 7.0):
            x = torch.full(shape, value)
            twice, total = run(x)
            assert torch.equal(twice, x * 2)
            assert torch.equal(total, x.sum(1))
    assert double.calls == 2


@torch.no_grad()
def test_one_recording_does_for_lengths_that_vary():
    double = Doubled()
    run = Recorded(double, lengths_vary=True)
    for length in (3, 1, 8):
        x = torch.rand(2, length)
        assert torch.equal(run(x)[0], x * 2)
    run(torch.rand(1, 3))
    assert double.calls == 2


@torch.no_grad()
def test_a_shape_is_recorded_when_it_is_met_again():
    double = Doubled()
    run = Recorded(double, calls_before=1)
    for length in (2, 3, 4, 2, 2, 2):
        x = torch.rand(1, length)
        assert torch.equal(run(x)[0], x * 2)
    assert double.calls == 4


@torch.no_grad()
def test_the_shapes_that_were_met_last_stay_recorded():
    double = Doubled()
    run = Recorded(double)
    for length in range(1, MOST + 1):
        run(torch.rand(1, length))
    run(torch.rand(1, 1))
    run(torch.rand(1, MOST + 1))
    double.calls = 0
    run(torch.rand(1, 1))
    assert double.calls == 0
    run(torch.rand(1, 2))
    assert double.calls == 1


@torch.no_grad()
def test_types_are_told_apart():
    def times_two(x):
        # nothing to record where they are integers already
        return (2 * x.long(),)

    run = Recorded(times_two)
    for dtype in (torch.int64, torch.float32, torch.int64):
        (twice,) = run(torch.full((1, 2), 3, dtype=dtype))
        assert twice.dtype == torch.int64
        assert twice.tolist() == [[6, 6]]


def test_with_gradients_the_function_itself_is_called():
    double = Doubled()
    run = Recorded(double)
    x = torch.ones(1, 2, requires_grad=True)
    for _ in range(2):
        run(x)[0].sum().backward()
    assert double.calls == 2
    assert x.grad.tolist() == [[4.0, 4.0]]


@torch.no_grad()
def test_weights_that_want_gradients_are_used_as_they_are():
    # recording them fails, and leaves torch so that the next one crashes
    layer = torch.nn.Linear(2, 1, bias=False)

    def widened(x):
        return (layer.weight.expand(x.shape[0], -1) * x,)

    run = Recorded(widened, layer)
    for value in (1.0, 2.0):
        layer.weight.fill_(value)
        assert run(torch.ones(1, 2))[0].tolist() == [[value, value]]
    layer.requires_grad_(False)
    run(torch.ones(1, 2))
    # from now on it is recorded, with this weight
    layer.weight = torch.nn.Parameter(torch.zeros(1, 2), requires_grad=False)
    assert run(torch.ones(1, 2))[0].tolist() == [[2.0, 2.0]]


@torch.no_grad()
def test_errors_of_the_function_are_raised():
    def fail(x):
        raise ValueError('no')

    with pytest.raises(ValueError, match='no'):
        Recorded(fail)(torch.ones(1))


@pytest.mark.parametrize('late', [False, True])
@torch.no_grad()
def test_function_itself_is_called_where_torch_does_not_record(
    monkeypatch, late
):
    def fail(function, tensors, *_, **__):
        if late:
            function(*tensors)
        raise RuntimeError('not on this Python')

    monkeypatch.setattr(torch._C, '_create_graph_by_tracing', fail)
    double = Doubled()
    run = Recorded(double)
    for _ in range(2):
        assert run(torch.ones(1, 2))[0].tolist() == [[2.0, 2.0]]
    assert double.calls == 2


@pytest.mark.slow
@torch.no_grad()
def test_results_are_not_kept():
    run = Recorded(Doubled())
    result = run(torch.ones(3, 2))[0]
    gone = weakref.ref(result)
    del result
    gc.collect()
    assert gone() is None


@pytest.mark.slow
@torch.no_grad()
def test_weights_are_let_go_of_with_the_function():
    weight = torch.ones(3)
    run = Recorded(Doubled(weight))
    run(torch.ones(2, 3))
    gone = weakref.ref(weight)
    del run, weight
    gc.collect()
    assert gone() is None


def test_threads_share_a_recording():
    double = Doubled()
    run = Recorded(double)
    wrong = []

    @torch.no_grad()
    def work(value):
        for _ in range(20):
            x = torch.full((4, 4), value)
            if not torch.equal(run(x)[0], x * 2):
                wrong.append(value)

    threads = [
        threading.Thread(target=work, args=(float(i),)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # none waits for the one that records
    assert double.calls < 4 * 20


def test_no_warning_is_shown(recwarn):
    def loop(x):
        for _ in range(x.shape[0]):
            x = x + len(x)
        return (x,)

    with torch.no_grad():
        Recorded(loop)(torch.ones(2))
    assert not recwarn


def test_a_recording_is_not_awaited_by_other_threads():
    started, go_on = threading.Event(), threading.Event()
    calls = []

    def double(x):
        calls.append(threading.current_thread())
        if torch.jit.is_tracing():
            started.set()
            go_on.wait(30)
        return (2 * x,)

    run = Recorded(double)
    results = []

    @torch.no_grad()
    def work():
        results.append(run(torch.ones(2)))

    first = threading.Thread(target=work)
    first.start()
    assert started.wait(30)
    second = threading.Thread(target=work)
    second.start()
    second.join(30)
    assert len(results) == 1
    go_on.set()
    first.join(30)
    assert calls == [first, second]
    assert [x[0].tolist() for x in results] == [[2.0, 2.0]] * 2


LOST_FILTERS = """
import contextlib, warnings
from napari_mobilesam.model import recorded
from napari_mobilesam.model.sam import build_sam
import torch

# as if another thread had taken the filters of a recording back
recorded.warnings.catch_warnings = contextlib.nullcontext
recorded.warnings.simplefilter = lambda *args, **kwargs: None
recorded.warnings.filterwarnings = lambda *args, **kwargs: None
warned = []
warnings.showwarning = lambda message, *args: warned.append(message)
model = build_sam('vit_t', 64).eval().requires_grad_(False)
recording = []
trace = recorded._trace
recorded._trace = lambda *args: recording.append(1) or trace(*args)
with torch.no_grad():
    prompts = {'points': torch.ones(1, 1, 2), 'labels': torch.ones(1, 1)}
    for _ in range(3):
        features = model.encode(torch.zeros(1, 3, 64, 64))
        model.answer(features, prompts, multimask=True)
assert recording, 'nothing was recorded'
told = [str(w) for w in warned if 'TracerWarning' in type(w).__name__]
assert not told, told
"""


@pytest.mark.slow
def test_no_warning_is_shown_though_the_filters_are_lost():
    done = subprocess.run(
        [sys.executable, '-c', LOST_FILTERS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
