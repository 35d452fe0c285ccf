"""What the STAC Item of a classified scene tells of its rasters."""

import math
from typing import Any

from geodl_core.domain.grid import cell_size
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.result.particulars import Asset, Particulars, class_fields
from geodl_core.domain.result.result import COG_NAME, EMD_NAME, SCORES_NAME, TABLE_NAME, ClassifiedScene

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


def classified_particulars(scene: ClassifiedScene, source: str, sources: str) -> Particulars:
    """Return what an Item tells of a classified scene alone.

    Args:
        scene: the result.
        source: what its source is called in a title.
        sources: the same in a sentence, each Item named.
    """
    model, grid = scene.provenance.model, scene.provenance.grid
    total = grid.height * grid.width
    valid = total - scene.counts.get(scene.storage.nodata, 0)
    table = {
        "title": "Raster attribute table and category names (GDAL)",
        "type": "application/xml",
        "roles": ["metadata"],
    }
    scores: tuple[Asset, ...] = tuple(
        ("probabilities", SCORES_NAME, _score_asset(scene, product)) for product in scene.products[1:]
    )
    return Particulars(
        title=f"{source} classified by {model.name}",
        lineage=f"Pixel classification of {sources} by model {model.name}.",
        extensions=("raster/v2.0.0",),
        properties={"geodl:valid_percentage": round(100 * valid / total, 4)},
        assets=(("classification", COG_NAME, _class_asset(scene)), ("attribute_table", TABLE_NAME, table)),
        further=scores,
    )


def _class_asset(scene: ClassifiedScene) -> dict[str, Any]:
    model, grid, files = scene.provenance.model, scene.provenance.grid, scene.provenance.files
    classes = class_fields(scene)
    return {
        "title": f"Classes of {model.name}",
        "type": COG_TYPE,
        "roles": ["data", "classification"],
        "data_type": scene.storage.dtype,
        "nodata": scene.storage.nodata,
        "raster:spatial_resolution": max(cell_size(grid)),
        "raster:sampling": "area",
        "classification:classes": classes,
        "bands": [
            {
                "name": "class",
                "description": "Class id of each pixel",
                "data_type": scene.storage.dtype,
                "nodata": scene.storage.nodata,
                "classification:classes": classes,
            }
        ],
        "mlm:name": model.name,
        "processing:expression": {"format": "emd", "expression": files[EMD_NAME].href},
    }


def _score_asset(scene: ClassifiedScene, product: Product) -> dict[str, Any]:
    model, grid = scene.provenance.model, scene.provenance.grid
    nodata = "nan" if math.isnan(product.nodata) else int(product.nodata)
    scaled = {"raster:scale": product.scale, "raster:offset": 0.0} if product.scale != 1 else {}
    fields = {"data_type": product.dtype, "nodata": nodata, **scaled}
    return {
        "title": f"Scores of {model.name}, one band a class",
        "type": COG_TYPE,
        "roles": ["data", "probability"],
        **fields,
        "raster:spatial_resolution": max(cell_size(grid)),
        "raster:sampling": "area",
        "bands": [
            {"name": entry.name, "description": f"Score of class {entry.value}, 0 to 1", **fields}
            for entry in model.classes
        ],
        "mlm:name": model.name,
    }
