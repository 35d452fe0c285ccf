"""How a deployment is set up, as far as time and money go: what template.yaml says, and how long its parts take."""

from dataclasses import dataclass
from typing import Literal

Compute = Literal["gpu-ec2", "fargate"]

# As template.yaml has it; a test compares.
JOB_VCPUS = 4
FARGATE_JOB_GB = 16.0
MERGE_JOB_GB = 30.0
MERGE_JOB_DISK_GB = 200.0
INSTANCE_DISK_GB = 100.0
FUNCTION_GB = {"ingest": 0.5, "plan": 2.0, "merge": 3008 / 1024, "register": 1.0, "scan": 1.0, "sweep": 0.5}
"""Memory of functions."""
MERGE_DISK_GB = 10.0
"""Size of /tmp of the functions that merge."""
LISTED = 5_000
"""Scenes of a list of a back-fill (aws/steps/scan.py)."""
SCENES_A_JOB = 2
"""Scenes of a back-fill that go on at once, for each job that does: others are planned and merged meanwhile."""
KEEP_S = 1_200.0
"""Least time that an instance without work is kept for."""
PAUSE_S = 900.0
"""After which the database rests."""
LEAST_ACU = 0.5
"""Capacity units of a database that is awake and has nothing to do."""

# On the safe side; what was measured on one machine with AWS played by moto stands beside it.
INGEST_S = 0.5
"""Of a message that starts a run: 0.08 s were measured."""
LOOK_S = 0.1
"""Of a message that starts nothing."""
PLAN_S = 6.0
"""0.2 s were measured of a small scene on a local disk; headers and overviews over the network come to that."""
REGISTER_S = 3.0
"""0.1 s were measured."""
LIST_ITEM_S = 0.06
"""Of each Item of a back-fill: two reads and a transaction of the ledger, and an order written to the bucket."""
COLD_S = 3.0
"""Until a function that has not run lately begins: its layers are fetched, its modules imported."""
WAKE_S = 20.0
"""Until a database that rests answers: about 15 s, says AWS."""
BOOT_S = 240.0
"""From a job until an instance has started, pulled a container of some GB, and begun."""
FARGATE_START_S = 60.0
"""Of each job on Fargate, which pulls its container anew."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Where shards run, under which limits; by default as template.yaml is deployed."""

    compute: Compute = "gpu-ec2"
    instance: str = "g6.xlarge"
    """Type that is paid for; Batch may take another of its list."""
    is_spot: bool = True
    max_vcpus: int = 64
    """Of shards' machines; where these are on Spot, of those."""
    max_on_demand_vcpus: int = 16
    """Of more of them on demand, which Batch takes once those on Spot are busy, or there are none; `gpu-ec2` alone."""
    max_merge_vcpus: int = 32
    shards_at_once: int = 256
    """Of a scene."""
    scenes_at_once: int = 32
    """Of a back-fill."""
    shard_s: float = 300.0
    """Work that a job should have."""
    has_database: bool = True
    """Whether results are registered in an Aurora of the deployment's own."""
    has_proxy: bool = False
    """Whether that has a proxy, which never lets it rest."""
    pays: bool = False
    """Whether reading scenes is paid for by the reader."""
    kept_months: float = 12.0
    """That results are stored for."""
    work_days: float = 14.0
    """That plans are kept for."""

    @property
    def slots(self) -> int:
        """Jobs that run at the same time, where each machine has the processors of one."""
        return self.first_slots + (0 if self.is_fargate else self.max_on_demand_vcpus // JOB_VCPUS)

    @property
    def first_slots(self) -> int:
        """Those that are taken first: on Spot, where that is asked for."""
        return self.max_vcpus // JOB_VCPUS

    @property
    def is_fargate(self) -> bool:
        return self.compute == "fargate"

    @property
    def rests(self) -> bool:
        """Whether the database does, while nobody asks it."""
        return not self.has_proxy

    def on_demand_share(self, jobs: int) -> float:
        """Return which part of the machines is on demand, once so many jobs are there."""
        if not self.is_spot:
            return 1.0
        used = max(1, min(jobs, self.slots))
        return max(0, used - self.first_slots) / used

    @property
    def boot_s(self) -> float:
        """Until the first job begins."""
        return 0.0 if self.is_fargate else BOOT_S

    @property
    def keep_s(self) -> float:
        """That a machine waits for more work."""
        return 0.0 if self.is_fargate else KEEP_S

    def occupied_s(self, job_s: float) -> float:
        """Return how long a job holds its machine."""
        return job_s + FARGATE_START_S if self.is_fargate else job_s

    def merge_slots(self, is_job: bool) -> int | None:
        """Return how many merge jobs run at the same time, None where functions merge."""
        return max(1, self.max_merge_vcpus // JOB_VCPUS) if is_job else None
