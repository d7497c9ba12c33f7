"Networks of six kinds go through every step that LightVision has, and come out of their files as they went in."
import os
from pathlib import Path

import pytest

from lightvision.study.support import CHECKS, YES, networks, try_network

# their converters are no part of this environment; a loss and zeros in weights ask nothing of an architecture that training does not ask
OTHERS = (".tflite", ".pte", "distill", "sparsify")
KINDS = {
    "mobilevit_xxs": "attention between convolutions, and a path that depends on sizes",
}
MORE = {
    "mobileone_s0": "several branches in training, folded before compression",
    "starnet_s1": "batch normalisation that follows no convolution",
    "nf_regnet_b0": "convolutions that normalise their weights",
    "ghostnet_050": "channels that are made in two ways and joined",
    "levit_128s": "batch normalisation behind linear layers, and results kept from its weights",
}

@pytest.mark.parametrize("arch", [*KINDS, *(pytest.param(arch, marks=pytest.mark.long) for arch in MORE)])
def test_every_step_works_with(arch, tmp_path):
    assert arch in networks()
    asked = {name: f for name, f in CHECKS.items() if name not in OTHERS}
    row = try_network(arch, 32, tmp_path, lambda row: None, asked, files=("pruned_ptq8",))
    assert {name: row[name] for name in asked} == dict.fromkeys(asked, YES)
    assert 0.1 < row["prune50 removes"] < 0.95
