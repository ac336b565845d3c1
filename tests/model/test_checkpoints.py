"""Loading, saving, downloading: strict, verified, nothing left behind."""

from __future__ import annotations

import hashlib
import http.server
import threading
from dataclasses import replace

import pytest
import torch

import napari_mobilesam as nm
from napari_mobilesam.model import registry
from napari_mobilesam.model.checkpoints import (
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.types import (
    CheckpointError,
    ModelRecord,
    ObjectDiameter,
)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'own'))
    return tmp_path


@pytest.fixture(scope='module')
def small():
    torch.manual_seed(0)
    return build_sam('vit_t', input_size=64)


@pytest.fixture(scope='module')
def checkpoint(small, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'official.pt'
    torch.save(small.state_dict(), path)
    return path


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A cancelled download resets the connection: no news."""


@pytest.fixture
def serve(checkpoint):
    """Serve a file over HTTP on this machine; break off if asked to."""
    state = {'content': checkpoint.read_bytes(), 'send': None}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = state['content']
            self.send_response(200 if content is not None else 404)
            self.send_header('Content-Length', str(len(content or b'')))
            self.end_headers()
            self.wfile.write((content or b'')[: state['send']])

        def log_message(self, *args):
            pass

    server = Server(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state['url'] = f'http://127.0.0.1:{server.server_port}/official.pt'
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def served_model(serve, folders, monkeypatch):
    """A registry whose official model is the small one on our server."""
    digest = hashlib.sha256(serve['content']).hexdigest()
    record = ModelRecord(
        'mobile_sam',
        input_size=64,
        url=serve['url'],
        hash=f'sha256:{digest}',
        size_bytes=len(serve['content']),
    )
    monkeypatch.setattr(registry, '_DOWNLOADS', (record,))
    return serve


def cached_files(folders):
    return [p for p in (folders / 'cache').rglob('*') if p.is_file()]


def test_registry_tells_what_each_model_is(folders):
    records = {record.name: record for record in nm.list_models()}
    assert list(records) == [
        'mobile_sam_cells',
        'mobile_sam',
        'vit_t_lm',
        'vit_t_em_organelles',
        'vit_b',
        'vit_l',
        'vit_h',
    ]
    assert all(r.licence and r.purpose for r in records.values())
    assert all(
        r.hash and r.url.startswith('https://')
        for r in records.values()
        if r.name != 'mobile_sam_cells'
    )
    assert records['mobile_sam'].size_bytes == 40_728_226


def test_bundled_model_is_the_default_offline(folders):
    model = load_model()
    assert model.record.name == 'mobile_sam_cells'
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert next(model.parameters()).dtype == torch.float32


def test_download_verifies_and_becomes_the_default(
    served_model, folders, small
):
    seen = []
    path = nm.download_model('mobile_sam', lambda *args: seen.append(args))
    size = served_model['content'].__len__()
    assert path.read_bytes() == served_model['content']
    assert seen[-1] == (size, size, 'downloading mobile_sam')
    assert load_model().key.startswith('mobile_sam-')
    served_model['content'] = None  # a second download would fail
    assert nm.download_model('mobile_sam') == path


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'content': b'something else'}, 'does not have the expected hash'),
        ({'content': None}, '404'),
        ({'send': 1000}, 'could not be downloaded'),
    ],
)
def test_failed_download_leaves_nothing_behind(
    change, message, served_model, folders
):
    served_model.update(change)
    with pytest.raises(CheckpointError, match=message):
        nm.download_model('mobile_sam')
    assert cached_files(folders) == []


def test_cancelled_download_leaves_nothing_behind(served_model, folders):
    def cancel(done, total, message):
        raise InterruptedError('cancelled')

    with pytest.raises(CheckpointError, match='cancelled'):
        nm.download_model('mobile_sam', cancel)
    assert cached_files(folders) == []


def test_cache_that_cannot_be_written(served_model, folders, monkeypatch):
    blocker = folders / 'file'
    blocker.write_text('a file where a folder is needed')
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(blocker))
    with pytest.raises(CheckpointError, match='could not be downloaded'):
        nm.download_model('mobile_sam')


def test_damaged_cache_is_noticed(served_model, folders):
    path = nm.download_model('mobile_sam')
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match='does not have the hash'):
        load_model('mobile_sam')
    assert (
        nm.download_model('mobile_sam').read_bytes()
        == (served_model['content'])
    )


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(CheckpointError, match='mobile_sam_cells, mobile_sam'):
        load_model('mobile_ham')


def test_missing_file():
    with pytest.raises(CheckpointError, match='there is no checkpoint file'):
        load_model('nowhere/model.pt')


@pytest.mark.parametrize('name', ['broken.pt', 'broken.safetensors'])
@pytest.mark.parametrize('content', [b'', b'garbage', None])
def test_damaged_file(name, content, tmp_path, checkpoint):
    path = tmp_path / name
    if content is None:
        content = checkpoint.read_bytes()[:5000]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='cannot be read'):
        load_model(path)


class Payload:
    """Unpickling this would run code."""

    def __reduce__(self):
        return (print, ('ran',))


def test_pickled_code_is_not_run(tmp_path, capsys):
    path = tmp_path / 'evil.pt'
    torch.save({'model': Payload()}, path)
    with pytest.raises(CheckpointError, match='more than weights'):
        load_model(path)
    assert 'ran' not in capsys.readouterr().out


def test_foreign_file_names_the_first_keys(tmp_path):
    path = tmp_path / 'resnet.pt'
    torch.save({'conv1.weight': torch.zeros(3)}, path)
    with pytest.raises(
        CheckpointError,
        match=r'439 tensors, 439 missing, first .*1 unexpected, first conv1',
    ):
        load_model(path)


def test_not_a_state_dict(tmp_path):
    path = tmp_path / 'list.pt'
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match='holds a list'):
        load_model(path)


def test_wrong_shape_and_missing_key_are_named(tmp_path, small):
    state = dict(small.state_dict())
    del state['mask_decoder.iou_token.weight']
    state['mask_decoder.mask_tokens.weight'] = torch.zeros(5, 256)
    path = tmp_path / 'other.pt'
    torch.save(state, path)
    with pytest.raises(
        CheckpointError,
        match=r'iou_token.*mask_tokens.weight \(5, 256\) instead of \(4, 256',
    ):
        load_model(path)


def test_nan_weights_are_refused(tmp_path, small):
    state = dict(small.state_dict())
    state['mask_decoder.iou_token.weight'] = torch.full((1, 256), torch.nan)
    path = tmp_path / 'nan.pt'
    torch.save(state, path)
    with pytest.raises(CheckpointError, match='NaN or infinite weights'):
        load_model(path)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda s: s,
        lambda s: {'model_state': s},
        lambda s: {'model_state': {f'sam.{k}': v for k, v in s.items()}},
        lambda s: {'state_dict': {f'module.{k}': v for k, v in s.items()}},
    ],
)
def test_wrapped_state_dicts_load(wrap, tmp_path, small):
    path = tmp_path / 'wrapped.pt'
    torch.save(wrap(dict(small.state_dict())), path)
    model = load_model(path)
    assert model.record.name == 'wrapped'
    assert model.record.input_size == 1024
    torch.testing.assert_close(
        model.mask_decoder.iou_token.weight,
        small.mask_decoder.iou_token.weight,
    )


def test_architecture_of_an_own_file_is_recognised(tmp_path):
    path = tmp_path / 'vit.pt'
    torch.save(build_sam('vit_b', input_size=64).state_dict(), path)
    model = load_model(path)
    assert model.record.architecture == 'vit_b'
    assert model.input_size == 64


def test_saved_checkpoint_keeps_its_record(tmp_path, small, folders):
    record = replace(
        small.record,
        name='mine',
        object_diameter=ObjectDiameter(10, 20, 30),
        training={'minutes': 4},
    )
    path = folders / 'own' / 'mine.safetensors'
    save_checkpoint(small, path, record)
    assert load_model(path).record == record
    assert load_model('mine').record == record
    assert nm.list_models()[-1] == record
    loaded = load_checkpoint(path).state_dict()
    for key, value in small.state_dict().items():
        torch.testing.assert_close(loaded[key], value, atol=1e-3, rtol=1e-3)


def test_failed_save_keeps_the_earlier_file(tmp_path, small, monkeypatch):
    path = tmp_path / 'mine.safetensors'
    save_checkpoint(small, path, small.record)
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(
        'napari_mobilesam.model.checkpoints.save_file', full_disk
    )
    with pytest.raises(OSError, match='No space left'):
        save_checkpoint(small, path, small.record)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['mine.safetensors']


def test_foreign_file_in_the_users_folder_is_left_out(folders, small):
    own = folders / 'own'
    own.mkdir()
    (own / 'notes.safetensors').write_text('no checkpoint')
    assert 'notes' not in [record.name for record in nm.list_models()]


@pytest.mark.parametrize('device', ['cuda', 'mps', 'tpu'])
def test_missing_device_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        load_model(device=device)
