"""Each sample of an epoch exactly once over all ranks, however many they are and wherever a run is resumed."""

import numpy as np
import pytest

from models.data.sampler import BucketSampler, EpochSampler, ShardSampler


def seen(n, batch_size, world, **options):
    """Indices by rank, placeholders dropped, and the number of batches of each rank."""
    ranks = [list(EpochSampler(n, batch_size, rank=r, world=world, **options)) for r in range(world)]
    return [i for batches in ranks for batch in batches for i in batch if i >= 0], [len(b) for b in ranks]


@pytest.mark.parametrize(
    "n, batch_size, world", [(100, 8, 1), (100, 8, 4), (97, 8, 4), (3, 2, 8), (65, 32, 2), (33, 4, 8)]
)
def test_every_sample_once_and_as_many_steps_on_every_rank(n, batch_size, world):
    indices, steps = seen(n, batch_size, world, seed=3, epoch=5)
    assert sorted(indices) == list(range(n))
    assert set(steps) == {len(EpochSampler(n, batch_size, world=world))}


def test_a_rank_without_a_sample_gets_a_placeholder():
    last = [list(EpochSampler(9, 2, rank=r, world=4, shuffle=False))[-1] for r in range(4)]
    assert last == [[8], [~8], [~8], [~8]]


def test_a_run_resumes_with_exactly_the_unseen_samples_on_another_number_of_ranks():
    first = [EpochSampler(101, 4, seed=1, epoch=2, rank=r, world=3) for r in range(3)]
    before = [i for sampler in first for batch in list(sampler)[:5] for i in batch]
    start = 5 * first[0].global_batch
    assert start == 60 == len(before)
    after, _ = seen(101, 4, 2, seed=1, epoch=2, start=start)
    assert sorted(before + after) == list(range(101))


def test_the_order_follows_seed_and_epoch_and_nothing_else():
    def order(**options):
        return [i for batch in EpochSampler(50, 7, **options) for i in batch]

    assert order(seed=1, epoch=1) == order(seed=1, epoch=1)
    assert order(seed=1, epoch=1) != order(seed=1, epoch=2) != order(seed=2, epoch=2)
    assert order(shuffle=False) == list(range(50))
    # the global batch is the same whatever the number of ranks
    two = [sorted(a + b) for a, b in zip(*(EpochSampler(48, 4, rank=r, world=2) for r in range(2)), strict=True)]
    assert two == [sorted(batch) for batch in EpochSampler(48, 8)]


def test_set_epoch_turns_the_same_sampler_to_another_epoch():
    sampler = EpochSampler(20, 4, seed=1, epoch=0)
    sampler.set_epoch(3, start=8)
    assert list(sampler) == list(EpochSampler(20, 4, seed=1, epoch=3))[2:]


def test_the_order_of_nine_million_samples_is_an_array_of_36_mb():
    order = EpochSampler(9_000_000, 32).order()
    assert order.dtype == np.uint32 and order.nbytes == 36_000_000


@pytest.mark.parametrize("options", [{"rank": 2, "world": 2}, {"batch_size": 0}, {"start": 11}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ValueError, match="out of range"):
        EpochSampler(**{"n": 10, "batch_size": 2, **options})


WIDTHS = np.random.default_rng(0).integers(40, 330, 5000).astype(np.uint16)


@pytest.mark.parametrize("shuffle", [True, False])
def test_buckets_are_an_epoch_of_batches_of_like_widths(shuffle):
    def padding(sampler):
        widths = [WIDTHS[batch] for batch in sampler]
        return 1 - WIDTHS.sum() / sum(len(w) * int(w.max()) for w in widths)

    options = {"batch_size": 32, "seed": 2, "shuffle": shuffle}
    plain, buckets = EpochSampler(5000, **options), BucketSampler(WIDTHS, window=2048, run=64, **options)
    assert sorted(i for batch in buckets for i in batch) == list(range(5000))
    assert padding(plain) > 0.35 and padding(buckets) < 0.05


def test_buckets_resume_on_another_number_of_ranks_like_any_epoch():
    options = {"seed": 2, "epoch": 1, "window": 1024, "run": 64}
    before = [
        i for r in range(2) for batch in list(BucketSampler(WIDTHS, 16, rank=r, world=2, **options))[:7] for i in batch
    ]
    after = [i for batch in BucketSampler(WIDTHS, 16, start=len(before), **options) for i in batch]
    assert len(before) == 7 * 32 and sorted(before + after) == list(range(5000))


def test_the_orders_that_published_figures_hang_on():
    """The very batches of a seed and an epoch: another order is another training."""
    assert list(EpochSampler(6, 4, seed=1, epoch=2)) == [[4, 5, 1, 0], [3, 2]]
    bucketed = BucketSampler(np.array([9, 1, 8, 2, 7, 3, 6, 4]), 4, seed=1, epoch=2, window=4, run=2)
    assert list(bucketed) == [[1, 3, 4, 2], [6, 0, 5, 7]]


def test_a_sampler_begins_with_the_first_epoch_of_seed_0_at_its_first_sample():
    assert list(EpochSampler(9, 2)) == list(EpochSampler(9, 2, seed=0, epoch=0, start=0))
    sampler = EpochSampler(9, 2, start=4)
    sampler.set_epoch(1)
    assert list(sampler) == list(EpochSampler(9, 2, epoch=1))


def test_a_resumed_epoch_has_the_batches_that_are_left():
    sampler = EpochSampler(20, 4, start=8)
    assert len(sampler) == len(list(sampler)) == 3
    assert len(EpochSampler(20, 4, start=20)) == 0 == len(list(EpochSampler(20, 4, start=20)))
    assert list(EpochSampler(2, 1, shuffle=False)) == [[0], [1]]


def test_buckets_begin_at_the_first_sample_and_keep_runs_of_512():
    widths = np.arange(2000, 0, -1)
    sampler = BucketSampler(widths, 512, seed=3)
    whole = list(sampler)[:3]
    # one window: sorted by width, then runs of 512 shuffled: each batch holds 512 neighbours
    assert all(sorted(batch) == list(range(min(batch), min(batch) + 512)) for batch in whole)


def test_images_of_one_width_keep_the_order_of_the_epoch():
    widths = np.arange(3000) % 7
    bucketed = [i for batch in BucketSampler(widths, 10, seed=4, window=3000, run=3000) for i in batch]
    epoch = [i for batch in EpochSampler(3000, 10, seed=4) for i in batch]
    assert bucketed == sorted(epoch, key=lambda i: widths[i])


@pytest.mark.parametrize("n, batch_size, world", [(100, 8, 4), (97, 8, 4), (3, 2, 8), (20, 4, 1)])
def test_shares_are_kept_to_in_every_epoch_and_each_sample_is_seen_once(n, batch_size, world):
    epochs = []
    for epoch in (0, 1):
        ranks = [list(ShardSampler(n, batch_size, seed=3, epoch=epoch, rank=r, world=world)) for r in range(world)]
        assert {len(batches) for batches in ranks} == {len(EpochSampler(n, batch_size, world=world))}
        own = [[i for batch in batches for i in batch if i >= 0] for batches in ranks]
        assert [sorted(share) for share in own] == [list(range(r, n, world)) for r in range(world)]
        epochs.append(own)
    assert n < 10 or epochs[0][0] != epochs[1][0] != sorted(epochs[1][0])


def test_a_share_goes_on_where_it_stopped_with_as_many_ranks_and_not_within_their_step():
    def own(start):
        return [i for batch in ShardSampler(50, 4, seed=1, rank=1, world=3, start=start) for i in batch]

    assert own(12) == own(0)[4:] and own(50) == []
    with pytest.raises(ValueError, match="within a step of 3 ranks"):
        own(16)
