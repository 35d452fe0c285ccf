"""The raster attribute table of a class map, as GDAL keeps it beside a file (PAM, `.aux.xml`)."""

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from geodl_core.domain.classes import ClassEntry

# GDAL's numbers: GDALRATFieldType (0 integer, 1 real, 2 text) and GDALRATFieldUsage.
# https://gdal.org/en/stable/api/gdal_rat.html
FIELDS = (
    ("Value", 0, 5),
    ("Class", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Count", 1, 1),
)
"""Count is real, as ArcGIS writes it: a large scene has more pixels than 32 bits count."""
MAX_CATEGORIES = 1 << 16
"""Category names are a list from 0 on; a larger class id leaves them out, the table has the names anyway."""


def attribute_table_xml(classes: Sequence[ClassEntry], counts: Mapping[int, int]) -> bytes:
    """Return the PAM document with category names and the table Value, Class, Red, Green, Blue, Count.

    Args:
        classes: of the model.
        counts: pixels of each class id.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = {entry.value: entry.name for entry in classes}
    if min(names) >= 0 and max(names) < MAX_CATEGORIES:
        categories = ET.SubElement(band, "CategoryNames")
        for value in range(max(names) + 1):
            ET.SubElement(categories, "Category").text = _xml_text(names.get(value, ""))
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(FIELDS):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            ET.SubElement(field, tag).text = text
    for index, entry in enumerate(sorted(classes, key=lambda entry: entry.value)):
        row = ET.SubElement(table, "Row", index=str(index))
        for cell in (entry.value, entry.name, *entry.color, counts.get(entry.value, 0)):
            ET.SubElement(row, "F").text = _xml_text(str(cell))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8")
    return document + b"\n"


def _xml_text(text: str) -> str:
    """Return the text with what XML 1.0 cannot hold replaced."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
