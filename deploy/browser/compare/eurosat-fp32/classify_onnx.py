"""Classify images: pip install numpy pillow onnxruntime, then python3 classify_onnx.py IMAGE..."""
import json, os, sys
from pathlib import Path
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
from PIL import Image, ImageOps
HERE = Path(__file__).resolve().parent
import onnxruntime
def logits_of(x):
    return session.run(None, {session.get_inputs()[0].name: x})[0][0]
options, cpu = onnxruntime.SessionOptions(), Path("/proc/cpuinfo")
if not (cpu.exists() and "vnni" in cpu.read_text()):  # exact sums on x86 without VNNI; nothing elsewhere
    options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession(str(HERE/"model.onnx"), options,
                                       providers=["CPUExecutionProvider"])
LABELS = (HERE/"labels.txt").read_text(encoding="utf-8").splitlines()
HEIGHT, WIDTH = json.loads((HERE/"preprocessing.json").read_text())["size"]

def pixels_of(path):
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16 bits a channel
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = ImageOps.fit(image.convert("RGB"), (WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32).transpose(2, 0, 1)[None]/np.float32(255)

def classify(path):  # its class, and the probability of that
    z = logits_of(pixels_of(path))
    p = np.exp(z - z.max())
    return LABELS[p.argmax()], p.max()/p.sum()

if __name__ == "__main__":
    for path in sys.argv[1:] or sys.exit("usage: python3 classify_onnx.py IMAGE..."):
        try: label, p = classify(path)
        except OSError as e: sys.exit(f"{path} cannot be read as an image: {e}")
        print(f"{path}: {label} ({100*p:.1f} %)")
