"""Labels, planes and a scene without a viewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from psygnal import Signal
from viewer.oracle import OracleSam

from napari_mobilesam.session import ImagePlane, Session
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    Pixels,
    WriteOptions,
)
from napari_mobilesam.session.objects.writing import finished, write_object
from napari_mobilesam.types import ImageError, Mask, Prompts


class FakeTarget:
    """A stack of labels that lies on the planes shifted by ``offset``."""

    name = 'labels'
    edited = Signal(object)

    def __init__(self, shape=(4, 40, 50), dtype=np.uint8, offset=(0, 0)):
        self.data = np.zeros(shape, dtype)
        self.offset = offset
        self.preserved = False
        self.editable = True
        self.table = pd.DataFrame({'index': []})
        # so many pixels are written one by one, more in one go
        self.few = 20
        self.refreshed = 0

    @property
    def shape(self):
        return self.data.shape

    @property
    def limit(self):
        return int(np.iinfo(self.data.dtype).max)

    def check(self):
        if not self.editable:
            raise LabelsError('“labels” is read-only: choose another one.')

    def highest(self):
        return int(self.data.max())

    def present(self, labels):
        return set(labels) & set(self.data.ravel().tolist())

    def locate(self, plane, picture, corner):
        rows, columns = np.nonzero(picture)
        values = picture[rows, columns]
        rows = rows + corner[0] + self.offset[0]
        columns = columns + corner[1] + self.offset[1]
        height, width = self.data.shape[1:]
        inside = (rows >= 0) & (rows < height)
        inside &= (columns >= 0) & (columns < width)
        z = np.full(inside.sum(), plane.geometry)
        return Pixels((z, rows[inside], columns[inside]), values[inside])

    def channels(self, plane):
        return 1

    def picture(self, plane, box, data=None):
        data = self.data if data is None else data
        rows, columns = np.mgrid[box[0] : box[2], box[1] : box[3]]
        rows, columns = rows + self.offset[0], columns + self.offset[1]
        height, width = self.data.shape[1:]
        inside = (rows >= 0) & (rows < height)
        inside &= (columns >= 0) & (columns < width)
        seen = np.zeros(rows.shape, data.dtype)
        z = np.full(inside.sum(), plane.geometry)
        seen[inside] = data[z, rows[inside], columns[inside]]
        return seen

    def read(self, indices):
        return self.data[indices]

    def write(self, indices, values):
        self.data[indices] = values

    def array(self):
        return self.data

    def row(self, pixels):
        return self.data.reshape(-1) if pixels > self.few else None

    def refresh(self, highest):
        self.refreshed += 1

    def set_features(self, table):
        self.table = table

    def features(self):
        return self.table


class FakeScene:
    """One stack of images; labels are made when they are first needed."""

    def __init__(self, images):
        self.images = np.asarray(images)
        self.shown = 0
        self.target = None
        self._objects = None

    def plane_at(self, number):
        image = self.images[number]
        return ImagePlane(
            ('image', number),
            lambda: image,
            image.shape,
            (0, 255),
            name=f'z {number}',
            geometry=number,
        )

    def plane(self):
        return self.plane_at(self.shown)

    def stack(self, axis=None):
        return [self.plane_at(n) for n in range(len(self.images))]

    def objects(self, create):
        if self._objects is None and create:
            self.target = FakeTarget(self.images.shape, np.uint16)
            self._objects = Objects(self.target)
        return self._objects

    def forget_labels(self):
        self._objects = None

    def undoables(self):
        return [] if self._objects is None else [self._objects]

    def show(self, plane):
        self.shown = plane.geometry

    def is_of_image(self, plane):
        return True

    def has_pixels(self, plane):
        return np.shares_memory(plane.read(), self.images)

    def describe(self, plane):
        found = {'index': (plane.geometry,)}
        return (
            found if plane.pitch is None else {**found, 'pitch': plane.pitch}
        )

    def find(self, index, pitch=None):
        (z,) = index
        if z >= len(self.images):
            raise ImageError(f'There is no plane {z}.')
        return replace(self.plane_at(z), pitch=pitch)

    def setup_code(self):
        return ['session = new_session()', 'scene = session.scene']


def blobs(shape=(96, 128)):
    """Two bright squares: (16 … 40, 20 … 44) and (56 … 80, 72 … 104)."""
    image = np.full(shape, 10, np.uint8)
    image[16:40, 20:44] = 200
    image[56:80, 72:104] = 200
    return image


FIRST, SECOND = (28, 32), (68, 88)


def oracle_session(images, **options):
    """Return a session on a stack, with an exact oracle model."""
    scene = FakeScene(images)
    model = OracleSam()
    return Session(
        load_model=lambda name: model,
        model_name='oracle',
        scene=scene,
        **options,
    )


def plane_at(z=0, shape=(40, 50)):
    return ImagePlane(('p', z), lambda: None, shape, geometry=z, name=f'z {z}')


def square(row, column, side=4, score=0.9):
    data = np.ones((side, side), bool)
    return Mask(data, (row, column, row + side, column + side), score, 0.95)


def point(row, column, label=1):
    return Prompts(np.array([[row, column]], float), np.array([label]))


def record_of(*masks, **options):
    """Return an object with a point and a mask on each plane."""
    views = {}
    for z, mask in enumerate(masks):
        prompts = Prompts(np.array([[1.0, 1.0]]), np.ones(1, np.int64))
        plane = plane_at(z)
        views[plane.place] = ObjectView(
            plane, prompts, ObjectCandidates((mask,))
        )
    return ObjectRecord(views=views, **options)


def write(objects, record, base=None, **options):
    chosen = WriteOptions(**options)
    done = finished(record, base, objects, chosen)
    write_object(objects, done, base, chosen.policy)
    return done
