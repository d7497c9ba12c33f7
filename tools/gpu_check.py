"""What a GPU gives, in one prepared run: where one is at hand for minutes only, nothing may be tried out there.

    python tools/gpu_check.py --tiny --out OUT                    rehearse here, on the CPU, with a tiny network
    python tools/gpu_check.py --out OUT [--study study.tar]       there; study.tar is of `lightvision study PLAN --pack study.tar`

Parts (name some to run only those), each in a process of its own with a time limit, so that one that fails stops no other:
    speed     `lightvision bench training`: our step plain, recorded as a CUDA graph, many at once, beside bare loops
    equal     one seed trained twice, side by side, and once without the graph: are the weights equal, bit by bit?
    compile   torch.compile(mode="reduce-overhead") under a bare step: is it as fast as our recorded step, and simpler?
    together  four seeds in one process (torch.func.vmap) against one: is it worth more than processes side by side?
    study     the packed study, all Runs at once, and its finished Runs packed again (OUT/back.tar, for `lightvision results --merge`)
What comes of it is printed, and written to OUT/gpu_check.jsonl, line by line as it comes.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

FULL = dict(dataset="eurosat", arch="mobilenetv2_100", batch_size=64, images=18_900, epochs=2, seconds=10.0, device="cuda")
TINY = dict(dataset="landcover-mini", arch="test_resnet", batch_size=16, images=160, epochs=1, seconds=0.5, device="cpu")
LIMITS = dict(speed=150, equal=120, compile=240, together=60, study=420)  # seconds


def speed(given, out, study):
    from lightvision.measure.training import bench_training
    table = bench_training(given["dataset"], given["arch"], given["batch_size"], given["seconds"], device=given["device"],
                           images=min(2000, given["images"]), rounds=3, workers=4 if given is FULL else 0, runs=None if given is FULL else 2)
    table.to_csv(out/"training.csv", index=False)
    return table.to_dict("records")


def train(given, graph):
    "A training from one seed: the weights' hash, and images a second of the last epoch"
    from lightvision.data.datasets import get_task
    from lightvision.measure.input_pipeline import pick
    from lightvision.models.classifier import model_for
    from lightvision.training import Context, TrainSettings, fingerprint, fit
    task = pick(get_task(given["dataset"]), given["batch_size"], given["images"])
    context = Context(device=given["device"], progress=False, graph=graph)
    model = model_for(task, given["arch"], weights="scratch", stem_stride=2)
    fit(model, task, TrainSettings(epochs=given["epochs"], batch_size=given["batch_size"]), context)
    return dict(weights=fingerprint(model), images_per_second=round(context.history[-1]["images_per_second"]),
                val_accuracy=context.history[-1]["val_accuracy"])


def equal(given, out, study):
    one = [sys.executable, __file__, "--out", str(out), *["--tiny"]*(given is TINY), "--one"]
    runs = [subprocess.Popen([*one, graph], stdout=subprocess.PIPE, text=True) for graph in ("graph", "graph", "plain")]
    a, b, plain = (json.loads(run.communicate()[0].splitlines()[-1]) for run in runs)
    return dict(graph=[a, b], plain=plain, same_seed_same_bits=a["weights"] == b["weights"], graph_as_plain=a["weights"] == plain["weights"])


def rate(given, work, images):
    "Images a second of some work"
    import torch
    from lightvision.measure.input_pipeline import waiter
    wait = waiter(torch.device(given["device"]))
    for _ in range(3): work()
    wait(); start, n = time.perf_counter(), 0
    while time.perf_counter() - start < given["seconds"]/2: work(); n += 1
    wait()
    return images*n/(time.perf_counter() - start)


def compiled(given, out, study):
    import torch
    from lightvision.measure.training import bare_step
    from lightvision.models.classifier import create_model
    model, size = create_model(given["arch"], 10, 64, weights="scratch"), given["batch_size"]
    model = model.to(given["device"], memory_format=torch.channels_last).train()
    x, y = torch.rand(size, 3, 64, 64, device=given["device"]), torch.randint(10, (size,), device=given["device"])
    plain = bare_step(model)
    start, found = time.perf_counter(), dict(plain=rate(given, lambda: plain(x, y), size))
    step = bare_step(torch.compile(model, mode="reduce-overhead"))
    step(x, y)
    return found | dict(compile_seconds=round(time.perf_counter() - start, 1), compiled=rate(given, lambda: step(x, y), size))


def together(given, out, study):
    import torch
    from torch import nn
    from torch.func import functional_call, grad, stack_module_state, vmap
    from lightvision.models.classifier import create_model
    device, size = given["device"], 64
    def bare():
        model = create_model(given["arch"], 10, size, weights="scratch").to(device).train()
        for m in model.modules():
            # vmap does not update running statistics; for a speed they do not matter
            if isinstance(m, nn.modules.batchnorm._BatchNorm): m.track_running_stats, m.running_mean, m.running_var = False, None, None
        return model
    models = [bare() for _ in range(4)]
    x, y = torch.rand(4, given["batch_size"], 3, size, size, device=device), torch.randint(10, (4, given["batch_size"]), device=device)
    def loss(params, buffers, x, y): return nn.functional.cross_entropy(functional_call(models[0], (params, buffers), (x,)), y)
    params, buffers = stack_module_state(models)
    many, one = vmap(grad(loss), randomness="different"), grad(loss)
    alone = [{k: v[0] for k, v in state.items()} for state in (params, buffers)]
    rates = dict(one=rate(given, lambda: one(*alone, x[0], y[0]), given["batch_size"]),
                 four=rate(given, lambda: many(params, buffers, x, y), 4*given["batch_size"]))
    return dict(rates, gain=rates["four"]/rates["one"])


def study(given, out, study):
    if not study: return "no --study given"
    start = time.perf_counter()
    code = "import sys; from lightvision.cli import main; sys.exit(main(sys.argv[1:]))"
    def call(*args): subprocess.run([sys.executable, "-c", code, *map(str, args)], check=True, stdout=sys.stderr)
    call("study", study, "--out", out/"runs")
    seconds = time.perf_counter() - start
    call("results", study, "--out", out/"runs", "--pack", out/"back.tar")
    return dict(seconds=round(seconds), back=(out/"back.tar").stat().st_size)


PARTS = {"speed": speed, "equal": equal, "compile": compiled, "together": together, "study": study}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="of " + ", ".join(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # this process is one of them
    parser.add_argument("--one", help=argparse.SUPPRESS)  # this process is one training of the part equal
    args = parser.parse_args()
    given = TINY if args.tiny else FULL
    if args.one: return print(json.dumps(train(given, args.one == "graph")))
    if args.part: return print(json.dumps(PARTS[args.part](given, args.out, args.study)))
    if unknown := [p for p in args.parts if p not in PARTS]: parser.error(f"no part {unknown[0]}: use {', '.join(PARTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for part in args.parts or PARTS:
        command = [sys.executable, __file__, "--out", args.out, "--part", part, *["--tiny"]*args.tiny]
        if args.study: command += ["--study", args.study]
        start = time.perf_counter()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMITS[part])
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired: found = f"more than {LIMITS[part]} s"
        line = json.dumps(dict(part=part, seconds=round(time.perf_counter() - start, 1), found=found))
        print(line, flush=True)
        with (args.out/"gpu_check.jsonl").open("a") as file: file.write(line + "\n")


if __name__ == "__main__": main()
