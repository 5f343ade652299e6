"""Preparing batches in other processes."""

import os

import torch

from vg_gym.fitting.batches import prepared


def whose(number):
    return number, os.getpid(), torch.get_num_threads()


def test_other_processes_prepare_them_in_order_with_one_thread_each():
    found = list(prepared(whose, range(3, 11, 2), workers=2))
    assert [number for number, _, _ in found] == [3, 5, 7, 9]
    assert len({process for _, process, _ in found} - {os.getpid()}) == 2
    assert {threads for _, _, threads in found} == {1}


def test_without_workers_a_batch_is_made_when_it_is_asked_for():
    asked = []
    batches = prepared(asked.append, range(9), workers=0)
    next(batches)
    assert asked == [0]
