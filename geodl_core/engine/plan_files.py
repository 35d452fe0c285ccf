"""Plans on disk or in an object store: written with the model they need, read back, their parts fetched and stored."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from geodl_core.domain.model.probed import Probed
from geodl_core.domain.plan.plan import shard_count
from geodl_core.domain.plan.plan_document import MOST_BYTES, PlanDocument, parse_plan
from geodl_core.domain.result.result import EMD_NAME
from geodl_core.engine.load_model import load_model
from geodl_core.engine.origin import Origin
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import PARTS, Task, shard_tasks
from geodl_core.errors import DataError, ModelError
from geodl_core.io.package.kept_package import fetch_package
from geodl_core.io.package.package import ModelPackage, load_package
from geodl_core.io.package.package_write import package_files, write_package
from geodl_core.io.parts.parts import is_part_whole
from geodl_core.io.remote.objects import delete, download, exists, is_remote, join, read_object, upload, write_object
from geodl_core.io.store import sha256_file

PLAN_NAME = "plan.json"
MODEL_NAME = "model.dlpk"


@dataclass(frozen=True, slots=True)
class RunWishes:
    """How a plan is meant to be run."""

    shards: int | None = None
    """In how many; None for the usual number."""
    batch_size: int = 1
    """Tiles at a time given to a network of open batch."""
    results: str | None = None
    """Folder or URL of the result's files; beside the plan where None."""


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """A plan that was read, with its model, at work in a local folder."""

    planned: ScenePlan
    package: ModelPackage
    origin: Origin
    document: PlanDocument
    location: str
    """Folder or URL in which the plan lies, and parts belong."""
    folder: Path
    """Where this process works: the same folder, or a temporary one."""

    @property
    def is_remote(self) -> bool:
        return is_remote(self.location)

    @property
    def results(self) -> str:
        """Folder or URL in which the files of the result belong."""
        return self.document.results or self.location


def write_plan(location: str, planned: ScenePlan, package: ModelPackage, origin: Origin, wishes: RunWishes) -> str:
    """Write a plan and its model into a folder or under a URL.

    Args:
        location: the folder or URL.
        planned: the job.
        package: of its model.
        origin: what its Item will say of it.
        wishes: how it is meant to be run.

    Returns:
        Where the plan lies.

    Raises:
        RefusedError: it may not be written.
        StoreError: it cannot be written now.
        ModelError: the model's network is larger than one ONNX file can be.
    """
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / MODEL_NAME
        text, files = package_files(package)
        write_package(packed, text, files, EMD_NAME)
        document = PlanDocument(
            job=planned.job,
            plan=planned.plan,
            shards=shard_count(planned.plan, wishes.shards),
            batch_size=wishes.batch_size,
            bands=planned.bands,
            notes=planned.notes,
            rule=planned.rule,
            warnings=planned.warnings,
            arguments=origin.arguments,
            source=dict(origin.source),
            others=tuple(map(dict, origin.others)),
            collection=origin.collection,
            results=wishes.results,
            model_file=MODEL_NAME,
            model_sha256=sha256_file(packed),
            emd_text=origin.emd_text,
            model_name=planned.model.name,
            model_word=origin.model_word,
            model_item_href=origin.model_item_href,
            decoder=planned.model.detector and planned.model.detector.decoder,
            reach=package.probed and package.probed.reach,
        )
        upload(packed, join(location, MODEL_NAME))
        target = join(location, PLAN_NAME)
        write_object(target, document.model_dump_json(indent=1).encode())
    return target


@contextmanager
def opened_plan(location: str, cache: Path | None = None) -> Iterator[OpenPlan]:
    """Read a plan and its model; a remote one works in a temporary folder that goes away again.

    Args:
        location: path or URL of the plan, or of the folder that it lies in.
        cache: folder in which models of remote plans are kept, by their content; None keeps none.

    Raises:
        InputError: there is none.
        RefusedError: it may not be read.
        PlanError: it is none, or was changed.
        ModelError: the model beside it is not the one that it was made with.
    """
    if not location.endswith(".json"):
        location = join(location, PLAN_NAME)
    document = parse_plan(read_object(location, MOST_BYTES), location)
    base = location.rpartition("/")[0] if is_remote(location) else str(Path(location).parent)
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / MODEL_NAME
        place = join(base, document.model_file)
        kept = cache if is_remote(base) else None
        if not fetch_package(kept, document.model_sha256, lambda target: download(place, target), packed):
            raise ModelError(f"{place}: expected the model that the plan was made with")
        package = replace(load_package(str(packed)), probed=Probed(document.decoder, document.reach))
        # Of the original: the package may hold it in other bytes, under another name.
        job = document.job
        model = replace(
            load_model(package),
            name=document.model_name,
            digest=job.model_digest,
            threshold=job.threshold,
        )
        planned = ScenePlan(document.job, document.plan, model, document.bands, document.radiometry, document.notes)
        planned = replace(planned, rule=document.rule, warnings=document.warnings)
        origin = Origin(
            document.source,
            document.model_word,
            document.model_item_href,
            document.emd_text,
            document.arguments,
            document.collection,
            document.others,
        )
        folder = Path(scratch) if is_remote(base) else Path(base)
        yield OpenPlan(planned, package, origin, document, base, folder)


def tasks_of(opened: OpenPlan, of: int | None = None) -> list[Task]:
    """Return all shards of a plan, with their parts in the folder where this process works."""
    return shard_tasks(opened.planned.plan, of or opened.document.shards, opened.folder / PARTS)


def has_part(opened: OpenPlan, task: Task) -> bool:
    """Say whether a shard was computed; a remote part is fetched."""
    if opened.is_remote and exists(_remote(opened, task)):
        download(_remote(opened, task), task.path)
    return is_part_whole(task.path, task.header)


def store_part(opened: OpenPlan, task: Task) -> None:
    """Bring a part that was computed to where the plan lies."""
    if opened.is_remote:
        upload(task.path, _remote(opened, task))
        task.path.unlink()


def fetch_parts(opened: OpenPlan, tasks: Sequence[Task]) -> None:
    """Make sure that all parts are there and whole.

    Raises:
        DataError: some are not, and which.
    """
    missing = [task for task in tasks if not has_part(opened, task)]
    if missing:
        numbers = ", ".join(str(task.shard.n) for task in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise DataError(
            f"{opened.location}: {len(missing)} of {len(tasks)} parts are missing or damaged: {numbers}{more}",
            hint=f"run geodl shard PLAN N {len(tasks)} for each of them",
        )


def remove_parts(opened: OpenPlan, tasks: Sequence[Task]) -> None:
    """Take parts away that are merged."""
    for task in tasks:
        task.path.unlink(missing_ok=True)
        if opened.is_remote:
            delete(_remote(opened, task))


def store_results(opened: OpenPlan, names: Sequence[str]) -> None:
    """Bring the files of a result to where they belong."""
    if opened.is_remote or opened.results != opened.location:
        for name in names:
            upload(opened.folder / name, join(opened.results, name))


def store_beside(opened: OpenPlan, name: str) -> None:
    """Bring a file to where the plan lies."""
    if opened.is_remote:
        upload(opened.folder / name, join(opened.location, name))


def _remote(opened: OpenPlan, task: Task) -> str:
    return join(opened.location, PARTS, task.path.name)
