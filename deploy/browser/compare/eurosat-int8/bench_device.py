#!/usr/bin/env python3
"""Measure .onnx and .tflite files on this device; one file that needs numpy and a runtime, no torch.

    pip install numpy onnxruntime          (for .onnx; ai-edge-litert for .tflite)
    python3 bench_device.py model.onnx other.tflite --threads 1 --out result.json

Copy it with the files to a Raspberry Pi or into a phone's shell (Termux). All files are opened, warmed up, and then timed in short blocks by turns, in a new
random order each round, so that a device that grows hot is unfair to none of them. result.json goes back to the desk, where lightvision merges it.
"""
import argparse
import hashlib
import json
import os
import platform
import random
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime for Linux sends usage data unless told before it is imported

FORMAT = "lightvision-device-1"
KINDS = {".onnx": ("onnxruntime", "onnxruntime"), ".tflite": ("LiteRT", "ai-edge-litert")}  # suffix -> runtime, its package


class Mistake(Exception):
    "Something that the user can mend, in one line."


class Parser(argparse.ArgumentParser):
    def error(self, message): raise Mistake(f"{message}; --help tells what there is")


def arguments():
    p = Parser(description=__doc__.splitlines()[0])
    p.add_argument("files", nargs="+", type=Path, help=".onnx or .tflite")
    p.add_argument("--threads", type=int, default=1, help="threads of the runtime, each on a core of its own")
    p.add_argument("--cores", help="cores to run on, such as 2,3; default: the fastest")
    p.add_argument("--rounds", type=int, default=30, help="blocks of each file; at least 10 for a useful interval")
    p.add_argument("--block-ms", type=float, default=50, help="milliseconds of a block")
    p.add_argument("--warm-seconds", type=float, default=1, help="of each file, untimed, before the first round")
    p.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="pixels, where the file does not tell")
    p.add_argument("--device", help="a name for the device; default: what it says of itself")
    p.add_argument("--emulated", action="store_true", help="the processor is emulated, so that times mean nothing; qemu is noticed without this")
    p.add_argument("--out", type=Path, default=Path("bench_device.json"), help="where to write the result")
    a = p.parse_args()
    for name, value, least in (("threads", a.threads, 1), ("rounds", a.rounds, 2), ("block-ms", a.block_ms, 1), ("warm-seconds", a.warm_seconds, 0)):
        if not value >= least: raise Mistake(f"--{name} is {value}: it must be at least {least}")
    if not a.out.parent.is_dir(): raise Mistake(f"there is no folder {a.out.parent}: make it, or choose another --out")
    for f in a.files:
        if f.suffix.lower() not in KINDS: raise Mistake(f"{f} cannot be measured here: give files that end in {' or '.join(KINDS)}")
        if not f.is_file(): raise Mistake(f"there is no file {f}")
    return a


# What the device says of itself. Whatever is missing stays blank: phones and containers hide most of it.

def read(path):
    try: return Path(path).read_text(errors="replace").strip("\0\n ")
    except OSError: return None


def read_number(path):
    try: return float(read(path))
    except (TypeError, ValueError): return None


def temperature():
    "The hottest zone, in degrees Celsius."
    zones = [read_number(z) for z in Path("/sys/class/thermal").glob("thermal_zone*/temp")] if Path("/sys/class/thermal").is_dir() else []
    zones = [z for z in zones if z is not None]
    return max(zones)/1000 if zones else None


def frequency(core): return read_number(f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq")


def governor(cores): return ", ".join(sorted({g for g in (read(f"/sys/devices/system/cpu/cpu{c}/cpufreq/scaling_governor") for c in cores) if g})) or None


def is_emulated():
    "qemu-user hides the processor, but not the name of its own process."
    return (read("/proc/self/comm") or "").startswith("qemu-")


def processor():
    lines = dict(part for part in (tuple(s.strip() for s in line.split(":", 1)) for line in (read("/proc/cpuinfo") or "").splitlines()) if len(part) == 2)
    return lines.get("model name") or lines.get("Hardware") or platform.machine()


def pin(threads, wanted):
    "Keep this process on as many cores as it has threads: the fastest, unless told."
    if not hasattr(os, "sched_getaffinity"):
        if wanted: raise Mistake("this system cannot pin a process to cores: leave --cores out")
        return None
    allowed = sorted(os.sched_getaffinity(0))
    try: cores = sorted({int(c) for c in wanted.split(",")}) if wanted else sorted(sorted(allowed, key=lambda c: -(frequency(c) or 0))[:threads])
    except ValueError: raise Mistake(f"--cores is {wanted!r}: give numbers with commas, such as 2,3") from None
    if not set(cores) <= set(allowed): raise Mistake(f"--cores is {wanted}: this process may use {','.join(map(str, allowed))}")
    if len(cores) < threads: raise Mistake(f"{threads} threads need as many cores, and there are {len(cores)}: lower --threads")
    try: os.sched_setaffinity(0, cores)
    except OSError: return None
    return cores


def peak_bytes():
    "Set the mark of the most memory used to the present level where that is allowed, and read it."
    return int(next((line.split()[1] for line in (read("/proc/self/status") or "").splitlines() if line.startswith("VmHWM")), 0))*1024 or None


def mark_memory():
    try: Path("/proc/self/clear_refs").write_text("5")
    except OSError: pass
    return peak_bytes()


def spent():
    "Clock, processor seconds of all programs, and our own."
    first = (read("/proc/stat") or "").split("\n")[0].split()
    everyone = sum(map(int, (first[1], first[2], first[3])))/os.sysconf("SC_CLK_TCK") if first[:1] == ["cpu"] else None
    return time.perf_counter(), everyone, sum(os.times()[:2])


# The two runtimes.

def shape_of(f, shape, size):
    "A shape of numbers: one picture, and the size that the user gave where the file gives none."
    free = [i for i, s in enumerate(shape) if not isinstance(s, int) or s < 1]
    if free[:1] == [0]: shape[0], free = 1, free[1:]
    if free and not size: raise Mistake(f"{f} does not tell the size of its pictures: give --size H W")
    for i, s in zip(free, size or ()): shape[i] = s
    return shape


def open_onnx(f, threads, size):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = ort.InferenceSession(str(f), options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    if image.type != "tensor(float)": raise Mistake(f"{f} takes {image.type}, not floats: export it again")
    return shape_of(f, list(image.shape), size), "float32", lambda x: session.run(None, {image.name: x})[0]


def open_tflite(f, threads, size):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=str(f), num_threads=threads)
    interpreter.allocate_tensors()
    image, logits = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    def run(x):
        interpreter.set_tensor(image["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(logits["index"])
    return [int(s) for s in image["shape"]], image["dtype"].__name__, run


class Stand:
    "One file, opened, with a picture of noise ready."
    def __init__(self, f, threads, size):
        import numpy as np
        runtime, package = KINDS[f.suffix.lower()]
        try: __import__("onnxruntime" if runtime == "onnxruntime" else "ai_edge_litert.interpreter")
        except ImportError: raise Mistake(f"{f.suffix} files need {runtime}, which is not installed here: pip install {package}") from None
        before = mark_memory()
        try:
            shape, kind, self.run = (open_onnx if runtime == "onnxruntime" else open_tflite)(f, threads, size)
            noise = np.random.default_rng(0).random(shape)
            self.x = noise.astype(np.float32) if kind == "float32" else (noise*255 + np.iinfo(kind).min).round().astype(kind)
            logits = np.ravel(self.run(self.x))
        except Mistake: raise
        except Exception as e: raise Mistake(f"{runtime} cannot run {f} ({str(e).strip().splitlines()[0][:160]}): export it again") from None
        peak = peak_bytes()
        height, width = (s for s in shape[1:] if s != 3) if len(shape) == 4 and shape.count(3) == 1 else (None, None)
        self.facts = dict(artifact=f.name, sha256=hashlib.sha256(f.read_bytes()).hexdigest(), runtime=runtime, version=version(package), threads=threads,
                          batch=shape[0], height=height, width=width, bytes=f.stat().st_size, peak_memory_mb=(peak - before)/1e6 if before else None,
                          top=int(logits.argmax()))

    def block(self, calls):
        "Milliseconds of each of some calls."
        run, x, times = self.run, self.x, []
        for _ in range(calls):
            begin = time.perf_counter_ns()
            run(x)
            times.append((time.perf_counter_ns() - begin)/1e6)
        return times

    def warm_up(self, seconds, block_ms):
        "Run without being measured; decides how many calls a block has."
        import numpy as np
        end, times = time.perf_counter() + seconds, self.block(3)
        while time.perf_counter() < end: times = self.block(3)
        self.calls = int(np.clip(block_ms/np.median(times), 3, 5000))


def summary(blocks, batch):
    "As lightvision's latency.summary: the median of the blocks' medians, with an interval that resamples blocks."
    import numpy as np
    medians, every = np.array([np.median(b) for b in blocks]), np.concatenate(blocks)
    again = np.median(medians[np.random.default_rng(0).integers(len(medians), size=(2000, len(medians)))], 1)
    low, high, p90, p99 = *np.quantile(again, [0.025, 0.975]), *np.quantile(every, [0.9, 0.99])
    return dict(p50_ms=float(np.median(medians)), p50_low=float(low), p50_high=float(high), p90_ms=float(p90), p99_ms=float(p99),
                images_per_second=float(1000*batch*len(every)/every.sum()), blocks=len(blocks), calls=len(every))


def measure(a):
    os.environ.setdefault("OMP_NUM_THREADS", str(a.threads))  # before numpy and the runtimes make their threads
    cores = pin(a.threads, a.cores)
    try: import numpy  # noqa: F401
    except ImportError: raise Mistake("numpy is not installed here: pip install numpy") from None
    emulated = a.emulated or is_emulated()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    stands = [Stand(f, a.threads, a.size) for f in a.files]
    for s in stands: s.warm_up(a.warm_seconds, a.block_ms)
    order, rng, blocks, cool, before = list(range(len(stands))), random.Random(0), [[] for _ in stands], temperature(), spent()
    for _ in range(a.rounds):
        rng.shuffle(order)
        for i in order:
            stands[i].block(3)  # its data returns to the caches
            blocks[i].append(stands[i].block(stands[i].calls))
    after, hot = spent(), temperature()
    others = None if before[1] is None else max(0.0, ((after[1] - before[1]) - (after[2] - before[2]))/(after[0] - before[0]))
    device = dict(device=a.device or read("/proc/device-tree/model") or processor(), host=processor(), machine=platform.machine(), cores=os.cpu_count(),
                  system=platform.system(), python=platform.python_version(), emulated=emulated, pinned=",".join(map(str, cores)) if cores else None,
                  governor=governor(cores or [0]), temperature_before=cool, temperature_after=hot, load=load, others=others,
                  quiet=None if others is None else others <= 0.05*(os.cpu_count() or 1), measured=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    return dict(format=FORMAT, device=device, rows=[dict(s.facts, **summary(b, s.facts["batch"] or 1)) for s, b in zip(stands, blocks)])


def show(result):
    d, word = result["device"], lambda v, unit="": "unknown" if v is None else f"{v:.1f}{unit}" if isinstance(v, float) else f"{v}{unit}"
    print(f"{d['device']}, {d['machine']}, cores {word(d['pinned'])}, governor {word(d['governor'])}, "
          f"{word(d['temperature_before'], ' C')} before and {word(d['temperature_after'], ' C')} after")
    if d["emulated"]: print("this processor is emulated: the times below are the emulator's, not the device's")
    if d["quiet"] is False: print(f"other programs took {d['others']:.2f} cores meanwhile: stop them and measure again before you quote a time")
    for r in result["rows"]:
        memory = f", {r['peak_memory_mb']:.1f} MB" if r["peak_memory_mb"] is not None else ""
        print(f"{r['artifact']}: median {r['p50_ms']:.3f} ms [{r['p50_low']:.3f}, {r['p50_high']:.3f}], p90 {r['p90_ms']:.3f}, p99 {r['p99_ms']:.3f}, "
              f"{r['images_per_second']:.0f} images/s{memory} ({r['runtime']} {r['version']}, {r['threads']} thread{'s'*(r['threads'] > 1)})")


def main():
    try:
        a = arguments()
        result = measure(a)
        part = a.out.with_name(f".{a.out.name}.part")
        try:
            part.write_text(json.dumps(result, indent=1) + "\n")
            os.replace(part, a.out)
        except OSError as e: raise Mistake(f"cannot write {a.out} ({e.strerror}): choose another --out") from None
        show(result)
        print(f"written to {a.out}")
    except Mistake as e:
        print(f"bench_device.py: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__": sys.exit(main())
