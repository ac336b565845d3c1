"""Write TrackMate files (XML) for Fiji."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from napari_mobilesam.tracking.pixel_size import NO_SIZE, PixelSize
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.units import SYMBOLS

VERSION = '7.11.1'


def write_trackmate(
    tracks: Tracks,
    path: Path,
    *,
    size: PixelSize = NO_SIZE,
    diameters: dict[int, float] | None = None,
) -> None:
    """Write spots and links as a TrackMate file.

    Open it in Fiji with *Plugins ▸ Tracking ▸ Load a TrackMate file*. Each
    object is a spot, named by its label.

    Parameters
    ----------
    tracks : Tracks
        The tracks.
    path : Path
        File to write, ``.xml``.
    size : PixelSize
        Pixel size and time between frames; by default, units are pixels and
        frames.
    diameters : dict of int to float, optional
        Diameter of objects in pixels, by index; 10 for the others.
    """
    root = ElementTree.Element('TrackMate', version=VERSION)
    units = str(size.units or 'pixel')
    model = ElementTree.SubElement(
        root,
        'Model',
        spatialunits=SYMBOLS.get(units, units),
        timeunits='frame' if size.interval is None else 'sec',
    )
    features = ElementTree.SubElement(model, 'FeatureDeclarations')
    for name in ('SpotFeatures', 'EdgeFeatures', 'TrackFeatures'):
        ElementTree.SubElement(features, name)
    interval, *spatial = size.along(tracks.positions.shape[1])[0]
    sizes = np.asarray(spatial, float)
    _add_spots(model, tracks, sizes, interval, diameters or {})
    _add_tracks(model, tracks)
    _add_settings(root, tracks, sizes, interval)
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    tree.write(path, 'utf-8', xml_declaration=True)


def _add_spots(
    model: ElementTree.Element,
    tracks: Tracks,
    sizes: np.ndarray,
    interval: float,
    diameters: dict[int, float],
) -> None:
    spots = ElementTree.SubElement(model, 'AllSpots', nspots=str(len(tracks)))
    places = tracks.positions * sizes
    # side of an isotropic pixel of the same area or volume
    mean = float(np.prod(sizes)) ** (1 / len(sizes))
    for frame in np.unique(tracks.frames).tolist():
        here = ElementTree.SubElement(spots, 'SpotsInFrame', frame=str(frame))
        for index in np.flatnonzero(tracks.frames == frame).tolist():
            place = places[index]
            radius = diameters.get(index, 10.0) / 2 * mean
            ElementTree.SubElement(
                here,
                'Spot',
                ID=str(index),
                name=str(tracks.labels[index]),
                VISIBILITY='1',
                QUALITY='1.0',
                FRAME=str(frame),
                POSITION_T=f'{frame * interval}',
                POSITION_X=f'{place[-1]}',
                POSITION_Y=f'{place[-2]}',
                POSITION_Z=f'{place[0] if len(place) == 3 else 0.0}',
                RADIUS=f'{radius}',
            )


def _add_tracks(model: ElementTree.Element, tracks: Tracks) -> None:
    """Add the links; a track of TrackMate is a whole lineage."""
    every = ElementTree.SubElement(model, 'AllTracks')
    shown = ElementTree.SubElement(model, 'FilteredTracks')
    for number, links in enumerate(_families(tracks)):
        track = ElementTree.SubElement(
            every, 'Track', name=f'Track_{number}', TRACK_ID=str(number)
        )
        for first, second in links:
            ElementTree.SubElement(
                track,
                'Edge',
                SPOT_SOURCE_ID=str(first),
                SPOT_TARGET_ID=str(second),
                LINK_COST='1.0',
            )
        ElementTree.SubElement(shown, 'TrackID', TRACK_ID=str(number))


def _add_settings(
    root: ElementTree.Element,
    tracks: Tracks,
    sizes: np.ndarray,
    interval: float,
) -> None:
    """Add the settings that TrackMate requires to load the file.

    If the image has no name, the tracks are shown on an empty one.
    """
    settings = ElementTree.SubElement(root, 'Settings')
    ElementTree.SubElement(
        settings,
        'ImageData',
        filename='',
        folder='',
        width='0',
        height='0',
        nslices='1',
        nframes=str(int(tracks.frames.max(initial=-1)) + 1),
        pixelwidth=f'{sizes[-1]}',
        pixelheight=f'{sizes[-2]}',
        voxeldepth=f'{sizes[0] if len(sizes) == 3 else 1.0}',
        timeinterval=f'{interval}',
    )
    ElementTree.SubElement(
        settings,
        'InitialSpotFilter',
        feature='QUALITY',
        value='0.0',
        isabove='true',
    )
    for name in ('SpotFilter', 'TrackFilter', 'Analyzer'):
        ElementTree.SubElement(settings, f'{name}Collection')


def _families(tracks: Tracks) -> Iterator[list[tuple[int, int]]]:
    """Return the links of each lineage; single objects have none."""
    following = tracks.following
    for start in np.flatnonzero(tracks.previous < 0).tolist():
        links = []
        waiting = [start]
        while waiting:
            first = waiting.pop()
            for second in following[first]:
                links.append((first, second))
                waiting.append(second)
        if links:
            yield links
