"""The order in which Batch jobs get their slots: a rule of arithmetic, tested without an emulator."""

from hypothesis import given
from hypothesis import strategies as st

from emulator.batch_slots import Slots, Ticket


class Machine:
    """Slots whose jobs are ended by hand."""

    def __init__(self, vcpus, gpus):
        self.slots, self.running, self.order = Slots(vcpus, gpus), {}, []

    def add(self, number, **more):
        fields = {"queue": "q", "queue_priority": 1, "vcpus": 1, "gpus": 0, **more}

        def start():
            self.running[number] = ticket
            self.order.append(number)

        ticket = Ticket(number=number, start=start, **fields)
        self.slots.wait(ticket)

    def end(self, number):
        self.slots.release(self.running.pop(number))


def test_the_better_queue_goes_first():
    """Among those that wait, a queue of higher priority is served first, then who came first."""
    machine = Machine(1, 0)
    machine.add(0)
    for number, priority in ((1, 1), (2, 5), (3, 1), (4, 5)):
        machine.add(number, queue=f"q{priority}", queue_priority=priority)
    for number in (0, 2, 4, 1):
        machine.end(number)
    assert machine.order == [0, 2, 4, 1, 3]


def test_who_needs_no_gpu_passes_and_who_is_small_does_not():
    """A CPU job passes one that waits for a GPU; nobody passes one that waits for vCPUs."""
    machine = Machine(4, 1)
    machine.add(0, gpus=1)
    machine.add(1, gpus=1)
    machine.add(2, vcpus=2)
    assert machine.order == [0, 2]
    machine.add(3, vcpus=4)
    machine.add(4, vcpus=1)
    assert machine.order == [0, 2]
    machine.end(2)
    machine.end(0)
    assert machine.order == [0, 2, 1]
    machine.end(1)
    assert machine.order == [0, 2, 1, 3]


def test_shares_take_turns_by_their_weight():
    """In a queue with a policy the share that uses least goes first: half the weight, twice the slots."""
    machine = Machine(3, 0)
    for number in range(12):
        share = "a" if number < 6 else "b"
        machine.add(number, share=share, weight=1.0 if share == "a" else 0.5)
    for number in (0, 1, 2):
        machine.end(number)
    running = ["a" if number < 6 else "b" for number in machine.running]
    assert (running.count("a"), running.count("b")) == (1, 2)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(1, 3)), max_size=25), st.randoms())
def test_slots_are_never_lent_twice_and_everybody_has_a_turn(jobs, random):
    """Whatever jobs come, those that run fit the machine, and all have run when all have ended."""
    machine = Machine(4, 2)
    for number, (vcpus, gpus, priority) in enumerate(jobs):
        machine.add(number, vcpus=vcpus, gpus=gpus, queue=str(priority), queue_priority=priority)
    while machine.running:
        tickets = machine.running.values()
        assert sum(machine.slots.needs(one)[0] for one in tickets) <= 4
        assert sum(one.gpus for one in tickets) <= 2
        machine.end(random.choice(list(machine.running)))
    assert sorted(machine.order) == list(range(len(jobs)))


def test_a_job_that_leaves_is_not_started():
    """Who is taken out of the line does not run, and does not hold up who stands behind."""
    machine = Machine(1, 1)
    for number in range(3):
        machine.add(number)
    assert machine.slots.leave(1)
    assert not machine.slots.leave(0)
    machine.end(0)
    assert machine.order == [0, 2]
