"""A .tflite file for a microcontroller: what it needs and answers in the interpreter of TensorFlow Lite Micro, and the file as a C header.

    python deploy/microcontroller/micro.py model.tflite                      bytes, memory, operators, input and output
    python deploy/microcontroller/micro.py model.tflite --images photos/*    its answers, as a device would give them
    python deploy/microcontroller/micro.py model.tflite --header model.h     what a firmware compiles; --labels labels.txt adds the names

Needs: pip install tflite-micro (Linux on x86). The interpreter is the one that runs on devices, compiled for this machine.
"""
import argparse
import os
import re
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from lightvision.core import LightVisionError, write_atomic
from lightvision.data.folders import decode
from lightvision.deploy.runtimes import ArtifactError, Opened, _to_integers, _to_reals

ROOM = 64*2**20  # bytes to try in; what is needed is measured


def runtime():
    "TensorFlow Lite Micro's Python package"
    try: from tflite_micro.python.tflite_micro import runtime
    except ImportError: raise ArtifactError("this needs TensorFlow Lite Micro, for Linux on x86: pip install tflite-micro") from None
    return runtime


def printed(call):
    "What a C library prints, to whichever of the two outputs"
    with tempfile.TemporaryFile("w+") as file:
        kept = [os.dup(n) for n in (1, 2)]
        try:
            for n in (1, 2): os.dup2(file.fileno(), n)
            call()
        finally:
            for n, k in zip((1, 2), kept):
                os.dup2(k, n)
                os.close(k)
        file.seek(0)
        return file.read()


def tensor_of(details):
    "Type, shape, scale and zero point of an input or output, as `runtimes` reads them of LiteRT"
    found = details["quantization_parameters"]
    quantized = len(found["scales"]) == 1
    return dict(dtype=np.dtype(details["dtype"]), shape=tuple(int(s) for s in details["shape"]),
                quantization=(float(found["scales"][0]), int(found["zero_points"][0])) if quantized else (1.0, 0))


def operators(data):
    "The names of the operators of a .tflite file, for the resolver of a firmware"
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(data)
    codes = (model.OperatorCodes(i) for i in range(model.OperatorCodesLength()))
    return sorted({names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())] for c in codes})


def check_weights(data, path):
    "Refuse a file that keeps its weights behind the flatbuffer, where this interpreter would read zeros and say nothing"
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
    model = schema.Model.GetRootAs(data)
    if any(model.Buffers(i).Offset() > 1 for i in range(model.BuffersLength())):
        raise ArtifactError(f"{path} keeps its weights outside of the part that a microcontroller reads: write it again with lightvision export --formats tflite")


class Micro(Opened):
    "A .tflite file in TensorFlow Lite Micro: call it with images, get logits"
    def __init__(self, path):
        self.data = Path(path).read_bytes()
        try:
            check_weights(self.data, path)
            self.operators = operators(self.data)
            interpreter = runtime().Interpreter.from_bytes(self.data, arena_size=ROOM)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, struct.error) as e:
            if isinstance(e, ArtifactError): raise
            raise ArtifactError(f"TensorFlow Lite Micro cannot open {path}: it is no .tflite file, or needs an operator that microcontrollers lack") from None
        self.image, self.logits = tensor_of(interpreter.get_input_details(0)), tensor_of(interpreter.get_output_details(0))
        self.arena = int(re.search(r"Arena allocation total (\d+) bytes", printed(interpreter.print_allocations))[1])
        def run(x):
            interpreter.set_input(_to_integers(x, self.image), 0)
            interpreter.invoke()
            return _to_reals(interpreter.get_output(0), self.logits)
        super().__init__(run, 1, self.image["shape"][2:])


def c_header(micro, labels=()):
    "The file and what a firmware must know of it, as C"
    n = len(micro.data)
    if labels and len(labels) != micro.logits["shape"][-1]:
        raise LightVisionError(f"there are {len(labels)} labels for {micro.logits['shape'][-1]} classes: pass the labels.txt of this network")
    rows = [", ".join(map(str, micro.data[i:i + 24])) for i in range(0, n, 24)]
    def describe(name, t):
        scale, zero = t["quantization"]
        return f"#define {name}_TYPE \"{t['dtype']}\"\n#define {name}_SCALE {scale!r}f\n#define {name}_ZERO_POINT {zero}\n"
    quoted = ", ".join('"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"' for label in labels)
    names = f"static const char *const lightvision_labels[] = {{{quoted}}};\n" if labels else ""
    height, width = micro.size
    return (f"// Written by lightvision. Operators: {', '.join(micro.operators)}\n"
            "#ifndef LIGHTVISION_MODEL_H\n#define LIGHTVISION_MODEL_H\n"
            "// a 64-bit machine needed so much; pointers of a 32-bit device are shorter\n"
            f"#define LIGHTVISION_ARENA_BYTES {micro.arena}\n"
            f"// [1, 3, height, width], red before green before blue, in [0, 1] before it is quantized\n"
            f"#define LIGHTVISION_HEIGHT {height}\n#define LIGHTVISION_WIDTH {width}\n#define LIGHTVISION_CLASSES {micro.logits['shape'][-1]}\n"
            + describe("LIGHTVISION_INPUT", micro.image) + describe("LIGHTVISION_OUTPUT", micro.logits) + names +
            f"static const unsigned int lightvision_model_bytes = {n};\n"
            "static const unsigned char lightvision_model[] __attribute__((aligned(16))) = {\n" + ",\n".join(rows) + "};\n#endif\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--images", nargs="+", default=[])
    parser.add_argument("--labels")
    parser.add_argument("--header")
    args = parser.parse_args(arguments)
    if not Path(args.model).is_file(): raise ArtifactError(f"there is no file {args.model}")
    micro = Micro(args.model)
    labels = Path(args.labels).read_text(encoding="utf-8").splitlines() if args.labels else []
    print(f"{args.model}: {len(micro.data):,} bytes, {micro.arena:,} bytes of memory (arena)")
    print(f"operators: {', '.join(micro.operators)}")
    for name, t in (("input", micro.image), ("output", micro.logits)):
        print(f"{name}: {t['dtype']} {list(t['shape'])}, scale {t['quantization'][0]:g}, zero point {t['quantization'][1]}")
    for path in args.images:
        try: pixels, _ = decode(Path(path).read_bytes(), micro.size)
        except OSError as e: raise ArtifactError(f"{path} cannot be read as an image: {e}") from None
        z = micro(pixels[None])[0]
        p = np.exp(z - z.max())
        print(f"{path}: {labels[z.argmax()] if labels else z.argmax()} ({100*p.max()/p.sum():.1f} %)")
    if args.header:
        write_atomic(args.header, c_header(micro, labels))
        print(args.header)


if __name__ == "__main__":
    try: main()
    except (ArtifactError, LightVisionError) as e: sys.exit(f"micro.py: {e}")
