"""A comparison of detections in a file with the truth in another."""

from geodl_core.domain.detection.accuracy import Rules, judge_objects
from geodl_core.domain.detection.accuracy_report import AccuracyReport
from geodl_core.io.vector.compared_files import ReadWords, read_compared


def judge_detections(truth: str, detections: str, words: ReadWords, rules: Rules) -> AccuracyReport:
    """Compare detections with the truth.

    Args:
        truth: file of polygons, or of points with `words.buffer_m`.
        detections: file of polygons.
        words: which fields and features of the files count, and in which CRS.
        rules: when an object counts as found.

    Raises:
        InputError: a file does not serve, or the two do not go together.
    """
    compared = read_compared(truth, detections, words)
    accuracy = judge_objects(compared.found, compared.scores, compared.truth, compared.names, rules)
    return AccuracyReport(accuracy, rules, words.with_outlines, compared.facts, compared.notes)
