"""Reading images with labels, and refusing what cannot be trained on."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage.io import imsave

from napari_mobilesam.training.dataset import (
    BalancedSampler,
    file_of,
    read_folder,
)
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
    labelled_image,
)
from napari_mobilesam.training.train_job import read_split


def two_objects() -> np.ndarray:
    labels = np.zeros((12, 10), dtype=np.uint16)
    labels[1:4, 1:4] = 7
    labels[6:10, 2:9] = 900
    return labels


def test_ids_are_renumbered_and_objects_found() -> None:
    image = labelled_image(np.ones((12, 10)), two_objects())
    assert np.unique(image.labels).tolist() == [0, 1, 2]
    assert image.objects.tolist() == [[0, 1, 1, 1, 4, 4], [0, 2, 6, 2, 10, 9]]
    expected = [2 * np.sqrt(9 / np.pi), 2 * np.sqrt(28 / np.pi)]
    assert image.diameters == pytest.approx(expected)


def test_an_image_without_a_finite_pixel_is_refused() -> None:
    image = np.full((12, 10), np.nan)
    with pytest.raises(TrainingDataError, match='mine: .* no finite pixel'):
        labelled_image(image, two_objects(), name='mine')


def test_a_plane_full_of_objects_has_no_background() -> None:
    image = labelled_image(np.ones((2, 2)), np.array([[3, 3], [5, 5]]))
    assert sorted(np.unique(image.labels)) == [1, 2]


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.ones((5, 5), int), 'the image is 12 x 10 but its labels are 5 x'),
        (np.zeros((12, 10), int), 'no object is labelled'),
        (np.full((12, 10), 0.5), 'whole numbers'),
        (-np.ones((12, 10), int), 'negative'),
        (np.ones(12, int), 'expected an image'),
    ],
)
def test_bad_labels_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(TrainingDataError, match=message):
        labelled_image(np.ones((12, 10)), labels, name='mine')


def test_float_labels_with_whole_numbers_are_taken() -> None:
    image = labelled_image(np.ones((12, 10)), two_objects().astype(float))
    assert len(image.objects) == 2


def test_folder_of_pairs_in_every_format(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (12, 10))
    labels = two_objects()
    tifffile.imwrite(tmp_path / 'a_image.tif', pixels.astype(np.uint16))
    tifffile.imwrite(tmp_path / 'a_labels.tif', labels)
    imsave(tmp_path / 'b_image.png', (pixels // 16).astype(np.uint8))
    imsave(tmp_path / 'b_labels.png', labels, check_contrast=False)
    zarr.save_array(str(tmp_path / 'c_image.zarr'), pixels)
    zarr.save_array(str(tmp_path / 'c_labels.zarr'), labels)
    images = read_folder(tmp_path)
    assert len(images) == 3
    assert all(len(image.objects) == 2 for image in images)
    assert {image.image.dtype.kind for image in images} == {'u', 'i'}


@pytest.mark.parametrize('folder', ['labels', 'masks'])
def test_subfolders_and_planes_of_a_stack(folder: str, tmp_path: Path) -> None:
    for part, array in (
        ('images', np.random.default_rng(0).random((3, 12, 10))),
        (folder, np.stack([two_objects(), 0 * two_objects()] * 2)[:3]),
    ):
        (tmp_path / 'worms' / part).mkdir(parents=True)
        tifffile.imwrite(tmp_path / 'worms' / part / 'stack.tif', array)
    images = read_folder(tmp_path)
    # The plane without objects is left out.
    assert [i.name for i in images] == ['worms/stack[0]', 'worms/stack[2]']
    assert {image.dataset for image in images} == {'worms'}


def test_one_channel_of_several_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((2, 3, 12, 10))
    drawn = np.stack([two_objects()] * 3)
    for name, image, labels in (
        ('flat', pixels[:, 0], drawn[0]),
        ('stack', pixels, drawn),
    ):
        axes = {'axes': 'CZYX'[: image.ndim - 2] + 'YX'}
        path = tmp_path / f'{name}.ome.tif'
        tifffile.imwrite(path, image, metadata=axes, photometric='minisblack')
        tifffile.imwrite(tmp_path / f'{name}_labels.tif', labels)
    tifffile.imwrite(tmp_path / 'gray.tif', pixels[0, 0])
    tifffile.imwrite(tmp_path / 'gray_labels.tif', drawn[0])
    said = 'Channel 0 of 2 images with several channels is used: flat.ome.tif'
    with pytest.warns(UserWarning, match=said):
        default = read_folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        chosen = read_folder(tmp_path, channel=1)
    for images, channel in ((default, 0), (chosen, 1)):
        flat, gray, *stack = (image.image for image in images)
        np.testing.assert_array_equal(flat, pixels[channel, 0])
        np.testing.assert_array_equal(gray, pixels[0, 0])
        np.testing.assert_array_equal(np.stack(stack), pixels[channel])
    with pytest.raises(TrainingDataError, match='no channel 2: it has 2'):
        read_folder(tmp_path, channel=2)


@pytest.mark.parametrize('folder', ['', 'labels'])
def test_labels_as_a_series_saves_them(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    pixels = np.arange(120, dtype=np.uint8).reshape(12, 10)
    for name in ('a.tif', 'b.ome.tif', 'new.tif'):
        tifffile.imwrite(tmp_path / name, pixels)
    for name in ('a_labels.tif', 'b.ome_labels.tif'):
        tifffile.imwrite(tmp_path / folder / name, two_objects())
    first, second = read_folder(tmp_path)
    assert [first.name[-2:], second.name[-2:]] == ['/a', '/b']
    assert np.array_equal(first.image, pixels)
    # in two places, they may differ
    other = tmp_path / ('' if folder else 'labels')
    other.mkdir(exist_ok=True)
    tifffile.imwrite(other / 'a_labels.tif', 0 * two_objects())
    with pytest.raises(TrainingDataError, match='are both of “a”'):
        read_folder(tmp_path)


def test_labels_of_an_image_that_is_named_as_one(tmp_path: Path) -> None:
    pixels = np.arange(120, dtype=np.uint8).reshape(12, 10)
    tifffile.imwrite(tmp_path / 'a_image.tif', pixels)
    (tmp_path / 'labels').mkdir()
    saved = tmp_path / 'labels' / 'a_image_labels.tif'
    tifffile.imwrite(saved, two_objects())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [image.name[-2:] for image in read_folder(tmp_path)] == ['/a']
    # predictions must not be used in place of true labels
    tifffile.imwrite(tmp_path / 'a_labels.tif', two_objects())
    with pytest.raises(TrainingDataError, match='are both of “a”'):
        read_folder(tmp_path)


@pytest.mark.parametrize('folder', ['', 'labels'])
def test_labels_as_cellpose_saves_them(folder: str, tmp_path: Path) -> None:
    there = tmp_path / folder
    there.mkdir(exist_ok=True)
    pixels = np.arange(120, dtype=np.uint8).reshape(12, 10)
    for name in ('a', 'b.ome', 'c_image', 'd_mask', 'e', 'f_img', 'g_img'):
        tifffile.imwrite(tmp_path / f'{name}.tif', pixels)
    labels, other = two_objects().astype(np.uint16), 0 * two_objects()
    content = {'masks': labels, 'outlines': labels, 'filename': 'a.tif'}
    np.save(there / 'a_seg.npy', content, allow_pickle=True)
    tifffile.imwrite(there / 'b.ome_cp_masks.tif', labels)
    # less than the masks of the same image
    np.save(there / 'b.ome_seg.npy', {'masks': other}, allow_pickle=True)
    imsave(there / 'c_image_cp_masks.png', labels, check_contrast=False)
    tifffile.imwrite(there / 'e_labels.tif', labels)
    tifffile.imwrite(there / 'e_masks.tif', other)
    tifffile.imwrite(there / 'f_masks.tif', labels)
    # another result of the same image
    np.save(there / 'f_img_seg.npy', {'masks': other}, allow_pickle=True)
    np.save(there / 'g_img_seg.npy', content, allow_pickle=True)
    # neither images nor labels, and an image that is named as labels
    tifffile.imwrite(tmp_path / 'a_flows.tif', pixels)
    tifffile.imwrite(tmp_path / 'd.tif', pixels)
    tifffile.imwrite(there / 'd_mask_labels.tif', labels)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        images = read_folder(tmp_path)
    names = {image.name.rpartition('/')[2] for image in images}
    assert names == {'a', 'b', 'c', 'd_mask', 'e', 'f', 'g'}
    assert len(images) == 7
    assert all(np.array_equal(i.image, pixels) for i in images)
    assert all(len(image.objects) == 2 for image in images)
    (there / 'a_seg.npy').write_bytes(b'no array')
    with pytest.raises(TrainingDataError, match=r'a_seg.npy cannot be read'):
        read_folder(tmp_path)


def test_manifest_chooses_the_split(tmp_path: Path) -> None:
    (tmp_path / 'cells').mkdir()
    for name in 'ab':
        tifffile.imwrite(
            tmp_path / 'cells' / f'{name}_image.tif', np.ones((12, 10))
        )
        tifffile.imwrite(
            tmp_path / 'cells' / f'{name}_labels.tif', two_objects()
        )
    (tmp_path / 'MANIFEST.csv').write_text(
        'dataset,id,split,modality\ncells,a,train,phase\ncells,b,test,phase\n'
    )
    (image,) = read_folder(tmp_path, split='test')
    assert (image.name, image.group) == ('cells/b', 'cells phase')


def test_label_images_without_objects_are_told(tmp_path: Path) -> None:
    image, labels = np.ones((2, 40, 40), np.uint8)
    labels[5:20, 5:20] = 3
    for name, drawn in (('a', labels), ('b', 0 * labels)):
        tifffile.imwrite(tmp_path / f'{name}_image.tif', image)
        tifffile.imwrite(tmp_path / f'{name}_labels.tif', drawn)
    with pytest.warns(UserWarning, match='left out: b_labels.tif'):
        (image,) = read_folder(tmp_path)
    (tmp_path / 'a_labels.tif').unlink()
    (tmp_path / 'a_image.tif').unlink()
    with pytest.raises(TrainingDataError, match='No label image of'):
        read_folder(tmp_path)


def test_empty_folder_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match='no labelled images'):
        read_folder(tmp_path)
    with pytest.raises(TrainingDataError, match='not a folder'):
        read_folder(tmp_path / 'nowhere')


def test_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / 'a_image.png').write_bytes(b'not a picture')
    tifffile.imwrite(tmp_path / 'a_labels.tif', two_objects())
    with pytest.raises(TrainingDataError, match=r'a_image\.png cannot be'):
        read_folder(tmp_path)


def test_small_groups_get_a_share() -> None:
    def image(dataset: str) -> LabelledImage:
        return labelled_image(
            np.ones((12, 10)), two_objects(), dataset=dataset
        )

    images = [image('many')] * 100 + [image('few')]
    sampler = BalancedSampler(images)
    rng = np.random.default_rng(0)
    drawn = [sampler.draw(rng).dataset for _ in range(400)]
    # 200 ** 0.4 : 2 ** 0.4 is 6.3 : 1, not 100 : 1.
    assert 30 < drawn.count('few') < 90


def test_digest_changes_with_pixels_and_labels() -> None:
    image, labels = np.ones((12, 10)), two_objects()
    first = labelled_image(image, labels).digest
    assert labelled_image(image, labels, name='other').digest == first
    assert labelled_image(image * 2, labels).digest != first
    labels[0, 0] = 3
    assert labelled_image(image, labels).digest != first


@pytest.mark.parametrize(
    'text',
    [
        '\ufeffdataset,id,split\ncells,a,train\ncells,b,test\n',
        'Dataset;ID;Split\ncells;a;train\ncells;b;test\n',
        'dataset, id, split\ncells, a, train\ncells, b, test\n',
        # a spreadsheet leaves out the last fields that are empty
        'dataset,id,split,modality\ncells,a,train,wide\ncells,b,test\n',
    ],
)
def test_manifests_of_spreadsheets(tmp_path: Path, text: str) -> None:
    (tmp_path / 'cells').mkdir()
    for name in 'ab':
        image = tmp_path / 'cells' / f'{name}_image.tif'
        tifffile.imwrite(image, np.ones((12, 10)))
        labels = tmp_path / 'cells' / f'{name}_labels.tif'
        tifffile.imwrite(labels, two_objects())
        # macOS leaves these on foreign disks
        labels.with_name(f'._{labels.name}').write_bytes(b'\0\5\x16\7')
    (tmp_path / 'MANIFEST.csv').write_text(text, 'utf-8')
    (image,) = read_folder(tmp_path, split='test')
    assert (image.name, image.modality) == ('cells/b', '')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'no row'),
        (b'dataset,name\ncells,a\n', 'its first line is .dataset,name'),
        (b'id,split\n\xb5,test\n', 'not text in UTF-8'),
    ],
)
def test_manifests_that_say_nothing(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / 'MANIFEST.csv').write_bytes(content)
    with pytest.raises(TrainingDataError, match=said):
        read_folder(tmp_path)


def test_planes_of_a_stack_are_on_one_side(tmp_path: Path) -> None:
    labels = np.stack([two_objects()] * 10)
    for name in 'ab':
        tifffile.imwrite(tmp_path / f'{name}_image.tif', np.ones(labels.shape))
        tifffile.imwrite(tmp_path / f'{name}_labels.tif', labels)
    sides = [read_split(tmp_path, split) for split in ('train', 'val')]
    names = [{file_of(image) for image in side} for side in sides]
    assert names == [{f'{tmp_path.name}/a'}, {f'{tmp_path.name}/b'}]
    (tmp_path / 'b_image.tif').unlink()
    (tmp_path / 'b_labels.tif').unlink()
    sides = [read_split(tmp_path, split) for split in ('train', 'val')]
    assert [len(side) for side in sides] == [9, 1]
    assert sides[1][0].name.endswith('a[9]')
    # a manifest may name no image for validation
    (tmp_path / 'MANIFEST.csv').write_text('id,split\na,train\n')
    assert read_split(tmp_path, 'val') == []
