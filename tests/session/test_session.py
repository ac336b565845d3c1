"""Sessions without a window: staleness, cancelling, errors, threads."""

from __future__ import annotations

import pydoc
import re
import threading

import numpy as np
import pytest

from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.session import PlaneTask, Session
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.prompt_messages import check_prompts
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import (
    CheckpointError,
    EverythingParameters,
    ImageError,
    ModelRecord,
    PromptError,
    Prompts,
)

RECORD = ModelRecord('tiny', input_size=128)


@pytest.fixture(scope='module')
def tiny():
    model = build_sam('vit_t', input_size=128, record=RECORD)
    return model.eval().requires_grad_(False)


@pytest.fixture
def session(tiny):
    session = Session(load_model=lambda name: tiny, model_name='tiny')
    yield session
    session.close()
    assert session.wait(20)


@pytest.fixture
def plane():
    image = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    return ImagePlane('a', lambda: image, image.shape, (0, 255))


def point(row=30.0, column=40.0, label=1):
    return Prompts(np.array([[row, column]]), np.array([label]))


def collect(signal):
    values = []
    signal.connect(lambda *args: values.append(args))
    return values


def start_everything(session, plane, parameters=None):
    return session.runs.start([PlaneTask(plane)], parameters)


@pytest.mark.slow
def test_preview_answers_with_masks_of_the_plane(session, plane):
    previews = collect(session.preview)
    generation = session.predict(plane, [point(), point(10, 10)])
    assert session.wait(30)
    ((result,),) = previews
    assert result.request.generation == generation
    assert len(result.masks) == 2
    for mask in result.masks:
        if mask is not None:
            row0, column0, row1, column1 = mask.box
            assert 0 <= row0 < row1 <= 60
            assert 0 <= column0 < column1 <= 80


def test_only_the_newest_request_is_answered(session, plane):
    previews = collect(session.preview)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    generations = [session.predict(plane, [point()]) for _ in range(15)]
    gate.set()
    assert session.wait(30)
    assert [r.request.generation for (r,) in previews] == generations[-1:]


@pytest.mark.slow
def test_forgotten_requests_are_not_answered(session, plane):
    previews = collect(session.preview)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    session.predict(plane, [point()])
    session.forget()
    gate.set()
    assert session.wait(30)
    assert previews == []


@pytest.mark.slow
def test_answer_that_became_stale_on_its_way_is_dropped(tiny, plane):
    waiting = []
    session = Session(
        deliver=waiting.append, load_model=lambda name: tiny, model_name='t'
    )
    previews = collect(session.preview)
    session.predict(plane, [point()])
    assert session.wait(30)
    session.forget()
    for function in waiting:
        function()
    session.close()
    assert previews == []


@pytest.mark.slow
def test_plane_is_read_and_embedded_once(tiny):
    reads = []
    image = np.zeros((40, 40), np.uint8)
    image[10:20, 10:20] = 200

    def read():
        reads.append(threading.current_thread().name)
        return image

    session = Session(load_model=lambda name: tiny, model_name='tiny')
    for column in (10, 12, 14):
        plane = ImagePlane('same', read, image.shape, (0, 255))
        session.predict(plane, [point(12, column)])
        session.wait(30)
    session.predict(
        ImagePlane('other', read, image.shape, (0, 99)), [point(12, 12)]
    )
    session.wait(30)
    session.close()
    assert len(reads) == 2
    assert all(name.startswith('napari-mobilesam') for name in reads)


@pytest.mark.slow
def test_everything_delivers_labels_and_progress(session, plane):
    results = collect(session.everything)
    steps = collect(session.progress)
    parameters = EverythingParameters(
        points_per_side=4, predicted_iou=0.0, stability=0.0
    )
    start_everything(session, plane, parameters)
    assert session.wait(60)
    ((result,),) = results
    assert result.complete
    assert result.labels.shape == plane.shape
    assert len(result.table) == result.labels.max()
    assert steps[-1][0] == 'everything'
    assert steps[-1][1] == steps[-1][2]


def test_cancelled_run_says_so(session, plane):
    results = collect(session.everything)
    session.progress.connect(lambda *args: session.cancel())
    start_everything(
        session, plane, EverythingParameters(points_per_side=16, batch_size=1)
    )
    assert session.wait(60)
    assert [r.complete for (r,) in results] == [False]


@pytest.mark.slow
def test_new_run_replaces_the_old_one(session, plane):
    results = collect(session.everything)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    few = EverythingParameters(points_per_side=2)
    start_everything(session, plane, few)
    last = start_everything(session, plane, few)
    gate.set()
    assert session.wait(60)
    assert [r.request.generation for (r,) in results] == [last]


@pytest.mark.parametrize(
    ('prompts', 'message'),
    [
        (point(-3, 5), 'outside the image'),
        (point(5, 80), 'outside the image'),
        (point(float('nan'), 5), 'outside the image'),
        (point(label=0), 'negative'),
        (Prompts(), 'no prompt'),
        (Prompts(box=np.array([5.0, 5.0, 5.0, 30.0])), 'no area'),
    ],
)
def test_bad_prompts_are_refused_at_once(session, plane, prompts, message):
    with pytest.raises(PromptError, match=message):
        session.predict(plane, [prompts])


def test_no_objects_are_refused(session, plane):
    with pytest.raises(PromptError, match='no prompt'):
        session.predict(plane, [])


def test_pixels_reach_from_half_to_half():
    check_prompts((10, 10), point(-0.5, 9.49))
    with pytest.raises(PromptError):
        check_prompts((10, 10), point(0, 9.5))


@pytest.mark.slow
def test_unreadable_image_is_explained(session):
    def read():
        raise OSError('the disk is gone')

    failures = collect(session.failed)
    session.predict(ImagePlane('x', read, (40, 40)), [point(5, 5)])
    assert session.wait(30)
    assert failures == [('the disk is gone', 'prompts')]


def test_a_failure_of_earlier_prompts_is_not_taken_for_that_of_newer(plane):
    def broken(name):
        raise CheckpointError('damaged')

    waiting = []
    session = Session(waiting.append, broken, 'broken')
    failures = collect(session.prompting.failed)
    session.predict(plane, [point()])
    session.wait(30)
    newest = session.predict(plane, [point()])
    session.wait(30)
    while waiting:
        waiting.pop(0)()
    assert failures == [(newest,)]
    session.close()


@pytest.mark.slow
def test_session_goes_on_after_a_failure(session, plane):
    bad = ImagePlane('bad', lambda: np.full((9, 9), np.nan), (9, 9))
    failures = collect(session.failed)
    previews = collect(session.preview)
    session.predict(bad, [point(5, 5)])
    session.wait(30)
    session.predict(plane, [point()])
    session.wait(30)
    assert len(failures) == len(previews) == 1


def test_model_that_cannot_be_loaded(plane):
    def broken(name):
        raise CheckpointError('damaged')

    session = Session(load_model=broken, model_name='x')
    failures = collect(session.failed)
    session.prepare(plane)
    session.wait(30)
    session.predict(plane, [point()])
    session.wait(30)
    start_everything(session, plane)
    session.wait(30)
    session.close()
    assert failures == [
        ('damaged', 'prompts'),
        ('damaged', 'prompts'),
        ('damaged', 'everything'),
    ]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('nomodel', "no model is named 'nomodel'"),
        ('/somewhere/mine.pt', 'no checkpoint file at /somewhere/mine.pt'),
        (3, 'name is 3'),
    ],
)
def test_a_model_that_is_not_there_is_refused_at_once(name, message):
    session = Session(model_name='mobile_sam_cells')
    with pytest.raises(CheckpointError if name != 3 else ValueError) as error:
        session.use_model(name)
    session.close()
    assert message in str(error.value)
    assert session.model_name == 'mobile_sam_cells'


@pytest.mark.slow
def test_other_model_is_loaded_once_and_announced(tiny, plane):
    loaded = []

    def load(name):
        loaded.append(name)
        return tiny

    session = Session(load_model=load, model_name='one')
    changed = collect(session.model_changed)
    session.prepare(plane)
    session.wait(30)
    session.use_model('two')
    session.wait(30)
    session.predict(plane, [point()])
    session.wait(30)
    session.close()
    assert loaded == ['one', 'two']
    assert len(changed) == 2


def test_download_brings_progress_and_uses_the_model(
    tiny, monkeypatch, tmp_path
):
    def download(name, progress=None):
        progress(5, 10, 'half')
        return tmp_path

    monkeypatch.setattr(
        'napari_mobilesam.model.registry.download_model', download
    )
    session = Session(load_model=lambda name: tiny, model_name='one')
    steps, arrived = collect(session.progress), collect(session.downloaded)
    session.download('official')
    session.models.wait(30)
    session.wait(30)
    session.close()
    assert steps == [('model', 5, 10)]
    assert arrived == [('official',)]
    assert session.model_name == 'official'


def no_network(name, progress=None):
    raise OSError('no network')


def test_download_can_be_stopped(tiny, monkeypatch):
    started, go = threading.Event(), threading.Event()

    def download(name, progress=None):
        started.set()
        go.wait(20)
        progress(1, 10, '')
        raise AssertionError('was not stopped')

    monkeypatch.setattr(
        'napari_mobilesam.model.registry.download_model', download
    )
    session = Session(load_model=lambda name: tiny, model_name='one')
    models, failures, left = session.models, collect(session.failed), []
    session.failed.connect(lambda text, topic: left.append(models.downloading))
    session.download('official')
    started.wait(20)
    assert models.downloading == 'official'
    # asked for twice, it is downloaded once
    session.download('official')
    session.cancel_download()
    assert models.downloading == ''
    go.set()
    session.wait(30)
    # another one, which fails
    monkeypatch.setattr(
        'napari_mobilesam.model.registry.download_model', no_network
    )
    session.download('official')
    session.wait(30)
    session.close()
    assert failures == [
        ('The download was stopped.', 'model'),
        ('no network', 'model'),
    ]
    assert left == ['', '']
    assert session.model_name == 'one'


@pytest.mark.slow
def test_last_user_ends_the_threads(tiny, plane):
    session = Session(load_model=lambda name: tiny, model_name='tiny')
    session.acquire()
    session.acquire()
    session.predict(plane, [point()])
    session.wait(30)
    (thread,) = [
        t for t in threading.enumerate() if t.name.startswith('napari-mob')
    ]
    session.release()
    assert thread.is_alive()
    session.release()
    thread.join(10)
    assert not thread.is_alive()
    # and it can be used again
    previews = collect(session.preview)
    session.predict(plane, [point()])
    assert session.wait(30)
    assert len(previews) == 1
    session.close()


def test_explain():
    assert explain(ImageError('empty')) == 'empty'
    assert 'Not enough memory' in explain(MemoryError())
    assert 'Not enough memory' in explain(RuntimeError('CUDA out of memory'))
    assert 'KeyError' in explain(KeyError('x'))


def test_least_recently_used_is_forgotten():
    cache = LeastRecentlyUsed(2)
    cache.get('a', lambda: 'a')
    cache.get('b', lambda: 'b')
    cache.get('a', lambda: pytest.fail('a was forgotten'))
    cache.get('c', lambda: 'c')
    assert 'a' in cache
    assert 'b' not in cache
    assert len(cache) == 2


def test_cache_is_not_cleared_while_it_is_read():
    cache = LeastRecentlyUsed(2)
    cache.put('a', 1)
    cache.put('b', 2)
    clearing = threading.Thread(target=cache.clear)

    def which(value):
        if value == 1:
            clearing.start()
            clearing.join(0.02)
        return False

    cache.drop(which)
    clearing.join()
    assert len(cache) == 0


def test_failing_job_does_not_end_the_worker(caplog):
    worker = LatestWorker('test')
    done = []

    def fail():
        raise RuntimeError('boom')

    worker.submit('a', fail)
    assert worker.wait(10)
    worker.submit('b', lambda: done.append(1))
    assert worker.wait(10)
    worker.close()
    assert done == [1]
    assert 'boom' in caplog.text


def test_help_shows_commands():
    text = pydoc.plain(pydoc.render_doc(Session))
    for command in ('click', 'accept', 'track', 'segment_everything', 'save'):
        # Python 3.13 writes long signatures with a line per parameter
        assert re.search(rf'\n \|  {command}\(\s*(\|\s+)?self,', text)
    assert 'Add a point to the open object.' in text


def test_a_stopped_download_is_not_revived_by_the_next(tiny, monkeypatch):
    going, begun = threading.Event(), threading.Event()
    fetched = []

    def download(name, progress=None):
        begun.set()
        going.wait(20)
        progress(1, 2, 'half')
        fetched.append(name)

    monkeypatch.setattr(
        'napari_mobilesam.model.registry.download_model', download
    )
    session = Session(load_model=lambda name: tiny)
    session.download('unwanted')
    begun.wait(20)
    session.cancel_download()
    session.download('wanted')
    going.set()
    session.models.wait(20)
    session.finish(20)
    assert fetched == ['wanted']
    assert session.model_name == 'wanted'
    session.close()
