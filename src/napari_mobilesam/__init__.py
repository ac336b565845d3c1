"""MobileSAM in napari: prompts and segment everything.

The public names load lazily, so that importing the package (which napari
does at start-up) loads neither torch nor Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mobilesam.background_imports import import_beside

if TYPE_CHECKING:
    from napari_mobilesam.export.formats import export_labels as export_labels
    from napari_mobilesam.export.formats import read_labels as read_labels
    from napari_mobilesam.large.pipeline import segment_large as segment_large
    from napari_mobilesam.measure.object_table import (
        measure_objects as measure_objects,
    )
    from napari_mobilesam.model.bioimageio_package import (
        export_bioimageio as export_bioimageio,
    )
    from napari_mobilesam.model.checkpoints import load_model as load_model
    from napari_mobilesam.model.onnx_export import export_onnx as export_onnx
    from napari_mobilesam.model.registry import (
        download_model as download_model,
    )
    from napari_mobilesam.model.registry import list_models as list_models
    from napari_mobilesam.model.text_detectors import (
        download_detector as download_detector,
    )
    from napari_mobilesam.segmentation.box_prompts import (
        segment_boxes as segment_boxes,
    )
    from napari_mobilesam.segmentation.edges import edge_map as edge_map
    from napari_mobilesam.segmentation.embedding_cache import (
        EmbeddingCache as EmbeddingCache,
    )
    from napari_mobilesam.segmentation.estimate import (
        estimate_run as estimate_run,
    )
    from napari_mobilesam.segmentation.everything import (
        segment_everything as segment_everything,
    )
    from napari_mobilesam.segmentation.machine_speed import (
        measure_speed as measure_speed,
    )
    from napari_mobilesam.segmentation.mask_generator import (
        generate_candidates as generate_candidates,
    )
    from napari_mobilesam.segmentation.mask_generator import (
        generate_masks as generate_masks,
    )
    from napari_mobilesam.segmentation.object_classes import (
        propose_classes as propose_classes,
    )
    from napari_mobilesam.segmentation.outlines import (
        mask_outlines as mask_outlines,
    )
    from napari_mobilesam.segmentation.predictor import Predictor as Predictor
    from napari_mobilesam.segmentation.proposals import (
        object_proposals as object_proposals,
    )
    from napari_mobilesam.segmentation.refinement import (
        refine_labels as refine_labels,
    )
    from napari_mobilesam.segmentation.similar import (
        find_similar as find_similar,
    )
    from napari_mobilesam.segmentation.text_prompts import (
        segment_text as segment_text,
    )
    from napari_mobilesam.series.series import Series as Series
    from napari_mobilesam.series.series_segmentation import (
        segment_series as segment_series,
    )
    from napari_mobilesam.tracking.track_formats import (
        export_tracks as export_tracks,
    )
    from napari_mobilesam.tracking.track_linking import (
        LinkingParameters as LinkingParameters,
    )
    from napari_mobilesam.tracking.track_linking import (
        track_labels as track_labels,
    )
    from napari_mobilesam.widgets.viewer.viewer_session import (
        get_session as get_session,
    )

_MODULE_OF = {
    'load_model': 'model.checkpoints',
    'list_models': 'model.registry',
    'download_model': 'model.registry',
    'export_onnx': 'model.onnx_export',
    'export_bioimageio': 'model.bioimageio_package',
    'Predictor': 'segmentation.predictor',
    'EmbeddingCache': 'segmentation.embedding_cache',
    'generate_candidates': 'segmentation.mask_generator',
    'generate_masks': 'segmentation.mask_generator',
    'segment_everything': 'segmentation.everything',
    'segment_boxes': 'segmentation.box_prompts',
    'refine_labels': 'segmentation.refinement',
    'propose_classes': 'segmentation.object_classes',
    'find_similar': 'segmentation.similar',
    'segment_text': 'segmentation.text_prompts',
    'download_detector': 'model.text_detectors',
    'object_proposals': 'segmentation.proposals',
    'edge_map': 'segmentation.edges',
    'mask_outlines': 'segmentation.outlines',
    'estimate_run': 'segmentation.estimate',
    'measure_speed': 'segmentation.machine_speed',
    'segment_large': 'large.pipeline',
    'Series': 'series.series',
    'segment_series': 'series.series_segmentation',
    'export_labels': 'export.formats',
    'read_labels': 'export.formats',
    'measure_objects': 'measure.object_table',
    'track_labels': 'tracking.track_linking',
    'LinkingParameters': 'tracking.track_linking',
    'export_tracks': 'tracking.track_formats',
    'get_session': 'widgets.viewer.viewer_session',
}

__version__ = '0.1.0'
__all__ = [*_MODULE_OF, '__version__']


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_beside(f'{__name__}.{_MODULE_OF[name]}'), name)


def __dir__() -> list[str]:
    return sorted(__all__)
