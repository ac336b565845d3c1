"""Loading, saving, downloading: strict, verified, nothing left behind."""

from __future__ import annotations

import argparse
import errno
import hashlib
import http.server
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from requests import exceptions
from safetensors import SafetensorError
from safetensors.torch import save_file

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
def weights(small):
    """State dict that makes small files: one number of almost each tensor."""
    state = {
        key: value.reshape(-1)[:1].clone().expand(value.shape)
        for key, value in small.state_dict().items()
        if value.ndim
    }
    whole = 'mask_decoder.iou_token.weight'
    return small.state_dict() | state | {whole: small.state_dict()[whole]}


@pytest.fixture(scope='module')
def checkpoint(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'official.pt'
    torch.save(weights, path)
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
    # looks for the end every 10 ms, not every 500
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
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


@pytest.mark.slow
def test_bundled_model_is_the_default_offline(folders):
    model = load_model()
    assert model.record.name == 'mobile_sam_cells'
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert next(model.parameters()).dtype == torch.float32


def test_download_verifies_and_becomes_the_default(served_model, folders):
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
        ({'content': None}, 'answers 404'),
        ({'send': 1000}, 'could not be downloaded.*broke'),
    ],
)
def test_failed_download_leaves_nothing_behind(
    change, message, served_model, folders
):
    served_model.update(change)
    with pytest.raises(CheckpointError, match=message):
        nm.download_model('mobile_sam')
    assert cached_files(folders) == []


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (exceptions.ConnectTimeout(), 'a.org does not answer'),
        (
            exceptions.SSLError('[SSL: CERTIFICATE_VERIFY_FAILED]'),
            'the certificate of a.org is not trusted',
        ),
        (exceptions.SSLError(), 'there is no secure connection to a.org'),
        (exceptions.ConnectionError(), 'there is no connection to a.org'),
        (OSError('No space left'), 'No space left'),
    ],
)
def test_why_a_download_failed(error, text):
    assert registry.download_problem(error, 'https://a.org/b.pt') == text


def test_cancelled_download_leaves_nothing_behind(served_model, folders):
    def cancel(done, total, message):
        raise InterruptedError('cancelled')

    with pytest.raises(CheckpointError, match='cancelled'):
        nm.download_model('mobile_sam', cancel)
    assert cached_files(folders) == []


@pytest.mark.slow
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
    with pytest.warns(UserWarning, match=r'is damaged.*mobile_sam_cells is'):
        assert load_model().record.name == 'mobile_sam_cells'
    assert registry.default_model_name() == 'mobile_sam_cells'
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


ODD_WEIGHTS = {
    'sparse': (lambda t: t.to_sparse(), 'sparse instead of floating point'),
    'meta': (lambda t: t.to('meta'), 'without values instead of'),
    'integers': (lambda t: t.to(torch.int64), 'integer instead of'),
    'flags': (lambda t: t.to(torch.bool), 'bool instead of'),
    'complex': (lambda t: t.to(torch.complex64), 'complex64 instead of'),
}


# torch 2.14 says that it checks sparse tensors
@pytest.mark.filterwarnings('ignore:Validating sparse tensor')
@pytest.mark.parametrize('kind', ODD_WEIGHTS)
def test_weights_of_another_type_are_refused(kind, tmp_path, weights):
    change, words = ODD_WEIGHTS[kind]
    key = 'mask_decoder.iou_token.weight'
    torch.save({**weights, key: change(weights[key])}, tmp_path / 'odd.pt')
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / 'odd.pt')


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'input_size': '64'}, "input_size is '64' instead of a whole number"),
        ({'input_size': 1e9}, 'input_size is 1000000000.0 instead of'),
        ({'input_size': 1024 * 10**6}, 'input_size is 1024000000 instead'),
        ({'input_size': -64}, 'input_size is -64 instead of'),
        ({'input_size': 65}, 'input_size is 65 instead of a multiple of 16'),
        ({'input_size': True}, 'input_size is True instead of'),
        ({'architecture': 'resnet'}, "architecture is 'resnet' instead of"),
        ({'architecture': ['vit_t']}, r'architecture is \[.vit_t.\] instead'),
        ({'object_diameter': 5}, 'object_diameter is 5 instead of a list'),
        ({'object_diameter': [9, 1, 5]}, 'three sizes in ascending order'),
        ({'predicted_iou': float('nan')}, 'predicted_iou is nan instead of'),
        ({'ranking': 'best'}, "ranking is 'best' instead of"),
        ({'training': [1]}, r'training is \[1\] instead of an object'),
        ({'name': 5}, 'name is 5 instead of text'),
        (None, 'record is None instead of an object'),
        ('{', 'record is not valid JSON'),
        ('[' * 100_000, 'record is not valid JSON'),
    ],
)
def test_wrong_records_are_refused(values, words, tmp_path):
    path = tmp_path / 'odd.safetensors'
    if isinstance(values, dict):
        values = {'name': 'odd', 'input_size': 64, **values}
    text = values if isinstance(values, str) else json.dumps(values)
    # the record is looked at first
    save_file({'weight': torch.zeros(1)}, path, {'napari_mobilesam': text})
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


def test_objects_beside_the_weights_are_dropped(tmp_path, weights):
    path = tmp_path / 'trained.pt'
    beside = {
        'best': np.float64(0.3),
        'losses': np.zeros(3),
        'options': argparse.Namespace(rate=1),
        'folder': Path('somewhere'),
    }
    torch.save({'model_state': weights, **beside}, path)
    assert load_model(path).record.name == 'trained'


def test_positions_that_claim_a_huge_input_are_refused(tmp_path):
    path = tmp_path / 'huge.pt'
    positions = torch.zeros(1, 1, 1, 768).expand(1, 10**6, 1, 768)
    torch.save({'image_encoder.pos_embed': positions}, path)
    with pytest.raises(CheckpointError, match='input_size is 16000000'):
        load_model(path)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['weights.ckpt', 'weights', 'weights.txt'])
def test_file_of_the_current_folder_needs_no_suffix(
    name, tmp_path, checkpoint, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text('root:x:0:0')
    with pytest.raises(CheckpointError, match='not in torch format'):
        load_model(name)
    Path(name).write_bytes(checkpoint.read_bytes())
    assert load_model(name).record.name == 'weights'


@pytest.mark.parametrize('url', ['https://a.b/sam.pt', 's3://a/sam'])
def test_a_url_is_refused_by_its_name(url):
    with pytest.raises(CheckpointError, match=f"'{url}' is a URL: download"):
        load_model(url)


@pytest.mark.parametrize('value', [5, 1.5, ['a'], b'a'])
def test_name_of_another_type_is_refused(value):
    words = f'name_or_path is {re.escape(repr(value))}; give'
    with pytest.raises(CheckpointError, match=words):
        load_model(value)


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


@pytest.mark.parametrize(
    'added',
    [
        'image_encoder.blocks.0.attn.qkv.w_a_linear_q.weight',
        'peft_blocks.0.w_b_linear_v.weight',
        'image_encoder.blocks.0.attn.qkv.q_FacTs.weight',
        'base_model.model.layers.0.attn.qkv.lora_A.default.weight',
    ],
)
def test_low_rank_adaptations_are_refused_in_words(added, tmp_path, weights):
    path = tmp_path / 'tuned.pt'
    torch.save({**weights, added: torch.zeros(4, 8)}, path)
    with pytest.raises(CheckpointError, match='LoRA .* Merge them') as caught:
        load_checkpoint(path)
    assert added in str(caught.value)


@pytest.mark.slow
def test_wrong_shape_and_missing_key_are_named(tmp_path, weights):
    state = dict(weights)
    del state['mask_decoder.iou_token.weight']
    state['mask_decoder.mask_tokens.weight'] = torch.zeros(5, 256)
    path = tmp_path / 'other.pt'
    torch.save(state, path)
    with pytest.raises(
        CheckpointError,
        match=r'iou_token.*mask_tokens.weight \(5, 256\) instead of \(4, 256',
    ):
        load_model(path)


def test_nan_weights_are_refused(tmp_path, weights):
    state = dict(weights)
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
def test_wrapped_state_dicts_load(wrap, tmp_path, weights):
    path = tmp_path / 'wrapped.pt'
    torch.save(wrap(dict(weights)), path)
    model = load_model(path)
    assert model.record.name == 'wrapped'
    assert model.record.input_size == 1024
    torch.testing.assert_close(
        model.mask_decoder.iou_token.weight,
        weights['mask_decoder.iou_token.weight'],
    )


@pytest.mark.slow
def test_architecture_of_an_own_file_is_recognised(tmp_path):
    path = tmp_path / 'vit.pt'
    with torch.device('meta'):
        shapes = build_sam('vit_b', input_size=64).state_dict()
    # one number of each tensor is in the file
    zero = torch.zeros(1)
    torch.save({k: zero.expand(v.shape) for k, v in shapes.items()}, path)
    model = load_model(path)
    assert model.record.architecture == 'vit_b'
    assert model.input_size == 64


@pytest.mark.slow
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
        raise SafetensorError('I/O error: No space left on device')

    monkeypatch.setattr(
        'napari_mobilesam.model.checkpoints.save_file', full_disk
    )
    with pytest.raises(OSError, match='No space left') as caught:
        save_checkpoint(small, path, small.record)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['mine.safetensors']


@pytest.mark.parametrize('record', [None, '{', '[1]', '{"input_size": 1}'])
def test_odd_file_in_the_users_folder_is_left_out(folders, small, record):
    """With one warning, however often the models are listed."""
    path = folders / 'own' / 'mine.safetensors'
    save_checkpoint(small, path, small.record)
    odd = folders / 'own' / 'a.safetensors'
    if record is None:
        odd.write_text('no checkpoint')
    else:
        save_file({}, odd, {'napari_mobilesam': record})
    with pytest.warns(UserWarning, match='a.safetensors is left out') as seen:
        for _ in range(3):
            names = [record.name for record in nm.list_models()]
    assert len(seen) == 1
    assert names[-1] == 'mine'
    assert 'a' not in names


@pytest.mark.parametrize('device', ['cuda', 'mps', 'tpu'])
def test_missing_device_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    with pytest.raises(ValueError, match=f"device '{device}'"):
        load_model(device=device)
