"The byte budget as a whole: networks of several kinds, interruption by a kill, exactness of the cost model, and wrong input"
import ctypes, dataclasses, json, os, signal, subprocess, sys
from pathlib import Path

import numpy as np, pytest, torch

from conftest import small, wait_for

from lightvision.core import LightVisionError, parse_size
from lightvision.data.datasets import get_task
from lightvision.models.checkpoint import load_model
from lightvision.models.classifier import model_for
from lightvision.training import Context, TrainSettings, evaluate, fit, predict
from lightvision.compress.baselines import METHODS, compare, hypervolume
from lightvision.compress.budget import BudgetSettings, fit_budget
from lightvision.compress.quantization import quantized_layers
from lightvision.compress.sensitivity import (Allocation, FileSize, Probe, best_allocation, options_of,
                                              sensitivities, sensitivities_for, smallest_allocation, suppress_stdout)

SETTINGS = BudgetSettings(format="safetensors", epochs=4, iterations=2, batch_size=20, sensitivity_images=16, calibration_images=32, reestimate=32, steps=4, criterion="magnitude")

@pytest.fixture(scope="module")
def task(): return get_task("landcover-mini").few(None, 6)

@pytest.fixture(scope="module")
def context(): return Context(device="cpu", progress=False)

@pytest.mark.parametrize("kind", ["test_resnet", pytest.param("test_efficientnet", marks=pytest.mark.long), "transformer"])
def test_file_fits_and_computes_what_the_search_saw(task, context, tmp_path, kind):
    model = fit(small(task, kind), task, TrainSettings(epochs=2, batch_size=20, lr=3e-3), context)
    size = FileSize(model)
    options = options_of(size, size.full.widths, SETTINGS)
    budget = int((size(smallest_allocation(options))*size(size.full))**0.5)
    result = fit_budget(model, task, budget, SETTINGS, context, folder=tmp_path)
    assert result.path.stat().st_size == result.record["bytes"] <= budget
    net = load_model(result.path)
    assert evaluate(predict(net, task, "val", "cpu"))["accuracy"] == result.record["val_accuracy"]
    bits = {n: m.bits for n, m in quantized_layers(net).items()}
    assert bits == dict(zip(result.layers.layer, result.layers.bits))
    assert {n: m.weight.numel() for n, m in quantized_layers(net).items()} == dict(zip(result.layers.layer, result.layers.weights))
    chosen = json.loads((tmp_path/"last"/"allocation.json").read_text())
    assert size(Allocation(chosen["widths"], chosen["bits"])) == result.record["bytes"] # to the byte
    fitting = result.front[result.front.bytes <= budget]
    assert fitting.epochs.min() == 0 and result.record["val_accuracy"] == fitting.val_accuracy.max() # one was not trained, and may be the best
    assert result.record["epochs"] == SETTINGS.epochs

def test_the_file_that_ships_fits(task, context, tmp_path):
    "The budget of an .onnx holds for the file that is written, and onnxruntime computes what the search saw."
    from lightvision.deploy.export import export
    model = fit(small(task, "test_efficientnet"), task, TrainSettings(epochs=8, batch_size=20, lr=6e-3), context) # after two epochs there were too many near ties
    quick = dataclasses.replace(SETTINGS, iterations=1, format="onnx")
    result = fit_budget(model, task, 45_000, quick, context, folder=tmp_path)
    made = export(result.model, task, tmp_path/"model.onnx")
    assert made.bytes == result.record["bytes"] <= 45_000 and result.record["bytes"] > 0.85*45_000
    assert made.parity["agreement"] >= 0.9 and result.record["packed_bytes"] == result.path.stat().st_size

def made_up_sensitivity(options):
    "Nothing for the costliest option, more for each cheaper one."
    rng = np.random.default_rng(0)
    return {v: np.cumsum(np.append(0, rng.exponential(size=len(o) - 1))) for v, o in options.items()}

@pytest.mark.parametrize("arch", ["mobilenetv3_small_050", "mobilenetv2_035"])
def test_plans_of_real_networks_fit(task, context, arch):
    size = FileSize(model_for(task, arch, weights="scratch"))
    options = options_of(size, size.full.widths, BudgetSettings())
    sensitivity = made_up_sensitivity(options)
    for fraction in (0.5, 0.1):
        budget = int(fraction*size(size.full))
        allocation = best_allocation(size, options, sensitivity, budget)
        assert 0.95*budget < size(allocation) <= budget

def test_a_byte_less_than_a_plan_is_another_plan_and_not_none(task):
    size = FileSize(small(task, "test_resnet"))
    options = options_of(size, size.full.widths, BudgetSettings())
    sensitivity = made_up_sensitivity(options)
    for fraction in (0.8, 0.4, 0.2):
        allocation = best_allocation(size, options, sensitivity, int(fraction*size(size.full)))
        assert size(best_allocation(size, options, sensitivity, size(allocation) - 1)) < size(allocation)

SEARCH = """
import sys
from test_budget import *
task = get_task("landcover-mini").few(None, 6)
context = Context(device="cpu", progress=False)
fit_budget(small(task, "test_resnet"), task, 40_000, SETTINGS, context, folder=sys.argv[1])
"""

def test_a_killed_search_continues_bit_exactly(task, context, tmp_path):
    "In another process, whose one thread sums in the same order as ours."
    def search(folder): return fit_budget(small(task, "test_resnet"), task, 40_000, SETTINGS, context, folder=folder)
    search(tmp_path/"whole")
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    broken = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SEARCH, str(tmp_path/"broken")], env=dict(os.environ, PYTHONPATH=path))
    wait_for(lambda: (tmp_path/"broken"/"iteration2"/"allocation.json").exists() or broken.poll() is not None, 600)
    broken.send_signal(signal.SIGKILL); broken.wait()
    assert not (tmp_path/"broken"/"model.safetensors").exists() # it was not finished
    search(tmp_path/"broken")
    assert (tmp_path/"whole"/"model.safetensors").read_bytes() == (tmp_path/"broken"/"model.safetensors").read_bytes()

@pytest.mark.long # the notebook of the methods compares them all
def test_every_method_has_the_same_training(task, context, tmp_path):
    model = small(task, "test_resnet")
    names = ["baic", "uniform_bits", "uniform", "random_search"]
    table = compare(model, task, [60_000], dataclasses.replace(SETTINGS, iterations=1), context, tmp_path, names)
    assert list(table.method) == names and table.epochs[table.bytes.notna()].nunique() == 1
    assert (table.bytes.dropna() <= 60_000).all() and table.bytes.notna().sum() >= 3
    assert (tmp_path/"budget.csv").read_text().startswith("task,arch,seed,method,format,budget_bytes,bytes,packed_bytes,val_accuracy,test_accuracy")
    assert set(names) < set(METHODS) and hypervolume(table.bytes.dropna(), table.val_accuracy.dropna(), 1e6) > 0

@pytest.mark.parametrize("call, words", [
    (dict(budget=1000), "smallest file"), (dict(budget=10**6, min_accuracy=2), "min_accuracy"), (dict(budget=10**6, min_accuracy=1.0), "lower min_accuracy")])
def test_what_cannot_be_is_said(task, context, call, words):
    model = small(task, "test_resnet")
    if call.get("min_accuracy") == 1.0: model = fit(model, task, TrainSettings(epochs=4, batch_size=20, lr=6e-3), context); call = dict(call, budget=1900)
    quick = dataclasses.replace(SETTINGS, iterations=1)
    with pytest.raises(LightVisionError, match=words) as e: fit_budget(model, task, settings=quick, context=context, **call)
    assert "\n" not in str(e.value)

def test_another_search_in_the_same_folder_is_refused(task, context, tmp_path):
    model = small(task, "test_resnet")
    quick = dataclasses.replace(SETTINGS, iterations=1)
    fit_budget(model, task, 100_000, quick, context, folder=tmp_path)
    with pytest.raises(LightVisionError, match="another search.*budget"): fit_budget(model, task, 90_000, quick, context, folder=tmp_path)

def test_a_solver_that_prints_is_not_heard(capfd):
    printf = ctypes.CDLL(None).printf
    with suppress_stdout(): printf(b"forgotten line\n")
    printf(b"after\n"); ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "after\n"

@pytest.mark.parametrize("text", ["", "big", "-1KB", "1.2.3MB", "10 XB", "0"])
def test_sizes_that_are_none(text):
    with pytest.raises(LightVisionError, match="is not a size"): parse_size(text)

def test_the_probe_and_the_search_never_see_validation_or_test(task, context):
    model = small(task, "test_resnet")
    size = FileSize(model)
    options = options_of(size, size.full.widths, SETTINGS)
    other = task.images.clone()
    other[(task.splits != 0)] = 0 # validation and test images are black
    blind = dataclasses.replace(task, images=other)
    for measure in (sensitivities, sensitivities_for):  # the second estimates widths, as a search does
        seen = [measure(Probe(model, size, t, SETTINGS, context), size.full, options) for t in (task, blind)]
        assert all((seen[0][v] == seen[1][v]).all() for v in options)

def test_the_results_page_of_the_evidence(tmp_path):
    import papermill
    from lightvision.study.kernels import kernel_manager
    from lightvision.study.runner import QUIET
    folder = Path(__file__).parent.parent
    for study in ("eurosat-budget", "eurosat-budget-vit", "eurosat-size"):  # of three ages
        budget = folder/"paper"/"evidence"/study/"budget.csv"
        nb = papermill.execute_notebook(folder/"nbs/results/budget.ipynb", tmp_path/"budget.ipynb", dict(budget=str(budget)), progress_bar=False,
                                        kernel_manager_class=kernel_manager([]), extra_arguments=QUIET)
        text = "".join(str(output) for cell in nb.cells for output in cell.get("outputs", ()))
        assert "test accuracy, %" in text and "search / last" in text
