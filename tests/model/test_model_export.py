"""Models as ONNX and as packages of bioimage.io."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import napari_mobilesam as nm
from napari_mobilesam.cli import main
from napari_mobilesam.model import onnx_export
from napari_mobilesam.model.onnx_export import (
    ModelExportError,
    check_onnx,
    decoder_graph,
    write_onnx,
)
from napari_mobilesam.model.sam import build_sam

onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def small():
    """Model of random weights with an input of 64 pixels."""
    torch.manual_seed(0)
    return build_sam('vit_t', input_size=64).eval()


@pytest.fixture(scope='module')
def decoder(small, tmp_path_factory):
    """The decoder of the small model, and its file."""
    path = tmp_path_factory.mktemp('onnx') / 'decoder.onnx'
    graph = decoder_graph(small)
    write_onnx(graph, path)
    return graph, path


def run(path, inputs):
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider']
    )
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    return session.run(None, arrays)


@pytest.mark.slow
@torch.no_grad()
def test_decoder_takes_boxes_and_any_number_of_points(small, decoder):
    graph, path = decoder
    inputs = dict(graph.inputs)
    inputs['has_mask_input'] = torch.zeros(1)
    inputs['point_coords'] = torch.tensor(
        [[[20.0, 30.0], [5.0, 9.0], [4.0, 6.0], [50.0, 40.0]]]
    )
    inputs['point_labels'] = torch.tensor([[1.0, 0.0, 2.0, 3.0]])
    masks, iou = run(path, inputs)
    sparse, dense = small.embed_prompts(
        inputs['point_coords'][:, :2],
        inputs['point_labels'][:, :2],
        torch.tensor([[4.0, 6.0, 50.0, 40.0]]),
    )
    for multimask, these in ((False, slice(0, 1)), (True, slice(1, 4))):
        logits, wanted = small.decode(
            inputs['image_embeddings'], sparse, dense, multimask
        )
        np.testing.assert_allclose(masks[:, these], logits, atol=1e-4)
        np.testing.assert_allclose(iou[:, these], wanted, atol=1e-4)


@torch.no_grad()
@pytest.mark.slow
def test_decoder_corrects_an_earlier_mask(small, decoder):
    graph, path = decoder
    inputs = graph.inputs
    masks, _ = run(path, inputs)
    sparse, dense = small.embed_prompts(
        inputs['point_coords'][:, :1],
        inputs['point_labels'][:, :1],
        masks=inputs['mask_input'],
    )
    wanted, _ = small.decode(inputs['image_embeddings'], sparse, dense, True)
    np.testing.assert_allclose(masks[:, 1:], wanted, atol=1e-4)
    assert check_onnx(graph, path) < 1e-4


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_refused(decoder):
    _, path = decoder
    torch.manual_seed(1)
    other = decoder_graph(build_sam('vit_t', input_size=64).eval())
    with pytest.raises(ModelExportError, match='differs from the model by'):
        check_onnx(other, path)


def test_nothing_is_left_of_an_export_that_fails(small, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr(onnx_export, 'write_onnx', fail)
    with pytest.raises(OSError, match='disk full'):
        nm.export_onnx(small, tmp_path / 'onnx')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_existing_files_are_never_replaced(small, tmp_path):
    with pytest.raises(FileExistsError, match='exists: remove it'):
        nm.export_onnx(small, tmp_path)
    package = tmp_path / 'model.zip'
    package.write_text('mine')
    with pytest.raises(FileExistsError, match='exists: remove it'):
        nm.export_bioimageio(small, package)
    assert package.read_text() == 'mine'


def test_without_onnx_the_extra_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    with pytest.raises(ImportError, match=r'napari-mobilesam\[onnx\]'):
        nm.export_onnx(small, tmp_path / 'onnx')


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['-o', 'model.pt'], 2, 'a folder without suffix'),
        (['-o', 'onnx', '--author', 'A'], 2, '--author is only for a package'),
        (['-o', 'here'], 3, 'here exists'),
        (['-o', 'none/onnx'], 3, 'there is no folder'),
    ],
)
def test_command_refuses(
    tmp_path, monkeypatch, capsys, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'here').mkdir()
    command = ['export-model', 'mobile_sam_cells', *arguments]
    assert main(command) == code
    assert words in capsys.readouterr().err


def test_command_names_an_unknown_model(tmp_path, capsys):
    target = str(tmp_path / 'onnx')
    assert main(['export-model', 'mobile_cells', '-o', target]) == 2
    assert 'mobile_cells' in capsys.readouterr().err


@pytest.mark.slow
def test_bundled_model_as_onnx(tmp_path, capsys):
    folder = tmp_path / 'onnx'
    command = ['export-model', 'mobile_sam_cells', '-o', str(folder)]
    assert main([*command, '--quiet']) == 0
    assert 'differs from the model by' in capsys.readouterr().out
    model = nm.load_model('mobile_sam_cells', 'cpu')
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    embedding = nm.Predictor(model).embed_window(image)
    pixels = torch.from_numpy(image.transpose(2, 0, 1)[None]).float()
    (features,) = run(folder / 'encoder.onnx', {'image': pixels})
    np.testing.assert_allclose(
        features, embedding.features, atol=1e-4 * np.abs(features).max()
    )


@pytest.mark.slow
def test_bundled_model_as_package(tmp_path):
    spec = pytest.importorskip('bioimageio.spec')
    path = tmp_path / 'cells.zip'
    command = ['export-model', 'mobile_sam_cells', '-o', str(path)]
    assert main([*command, '--author', 'A. Name', '--quiet']) == 0
    described = spec.load_model_description(path, perform_io_checks=True)
    assert described.name == 'mobile_sam_cells'
    assert described.license == 'Apache-2.0'
    assert [each.name for each in described.authors] == ['A. Name']
    assert described.weights.onnx is not None
