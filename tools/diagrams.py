"""Draw the schematic diagrams of the notebooks: python tools/diagrams.py writes nbs/diagrams/*.svg"""
from pathlib import Path

import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

BLUE, ORANGE, GREEN, PINK, GREY = "#cfe2f3", "#fbe0c3", "#cdebdf", "#f3d6e8", "#ececec"


def canvas(width, height):
    fig, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return fig, ax


def box(ax, x, y, text, width=1.3, height=0.55, colour=GREY, size=9, edge="#444444", **style):
    "A box around its centre"
    ax.add_patch(FancyBboxPatch((x - width/2, y - height/2), width, height, boxstyle="round,pad=0,rounding_size=0.06",
                                facecolor=colour, edgecolor=edge, linewidth=1, **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=size)


def arrow(ax, start, end, text="", dashed=False, curve=0.0, shift=(0, 0.13)):
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color="#444444", linewidth=1.2,
                                 linestyle=":" if dashed else "-", connectionstyle=f"arc3,rad={curve}"))
    if text: ax.text((start[0] + end[0])/2 + shift[0], (start[1] + end[1])/2 + shift[1], text, ha="center", fontsize=8)


def distillation():
    "Teacher, student and where each loss looks"
    fig, ax = canvas(8, 3.4)
    for y, name, colour, width in ((2.6, "teacher", BLUE, 0.9), (0.8, "student", ORANGE, 0.6)):
        ax.text(1.7, y + width/2 + 0.08, name, fontsize=10, weight="bold")
        for x, label in ((2.2, "stage 1"), (3.6, "stage 2"), (5.0, "logits")):
            box(ax, x, y, label, 1.0, width if label != "logits" else 0.5, colour)
        arrow(ax, (2.7, y), (3.1, y)); arrow(ax, (4.1, y), (4.5, y))
    box(ax, 0.65, 1.7, "images", 0.9)
    arrow(ax, (1.1, 1.8), (1.7, 2.5)); arrow(ax, (1.1, 1.6), (1.7, 0.9))
    box(ax, 3.6, 1.62, "projector", 0.95, 0.36, GREEN, 8)
    arrow(ax, (3.6, 1.1), (3.6, 1.44)); arrow(ax, (3.6, 1.8), (3.6, 2.15), dashed=True)
    ax.text(4.15, 1.86, "hint (FitNets)\nor attention", fontsize=8, va="center")
    arrow(ax, (5.0, 2.35), (5.0, 1.05), dashed=True)
    ax.text(5.1, 1.62, "KD, DKD, DIST\nof softened logits", fontsize=8, va="center")
    box(ax, 7.1, 0.8, "labels", 0.9)
    arrow(ax, (6.65, 0.8), (5.5, 0.8), "cross-entropy", dashed=True)
    ax.text(0.1, 0.05, "dotted: losses. The teacher is not trained; the projector is dropped after training.", fontsize=8)
    return fig


def residual_group():
    "Channels that two convolutions and an addition share"
    fig, ax = canvas(8, 3.0)
    for x, label, y in ((1.0, "conv A", 1.5), (3.2, "conv B", 2.3), (5.2, "conv C", 2.3), (7.1, "conv D", 1.5)):
        box(ax, x, y, label, 1.0, 0.9, BLUE)
        for k in range(4):
            cut = k == 1 and label in ("conv A", "conv C")
            ax.add_patch(plt.Rectangle((x + 0.32, y - 0.38 + 0.2*k), 0.16, 0.16, color="#d55e00" if cut else "white",
                                       ec="#444444", lw=0.6))
        for k in range(4):
            cut = k == 1 and label in ("conv B", "conv D")
            ax.add_patch(plt.Rectangle((x - 0.48, y - 0.38 + 0.2*k), 0.16, 0.16, color="#d55e00" if cut else "white",
                                       ec="#444444", lw=0.6))
    box(ax, 6.05, 1.5, "+", 0.4, 0.4, GREY, 12)
    arrow(ax, (1.5, 1.6), (2.7, 2.3)); arrow(ax, (3.7, 2.3), (4.7, 2.3)); arrow(ax, (5.7, 2.25), (6.0, 1.72))
    arrow(ax, (1.5, 1.4), (5.85, 1.45), "skip connection", shift=(0, -0.3)); arrow(ax, (6.25, 1.5), (6.6, 1.5))
    ax.text(0.1, 0.2, "The outputs of A and C are added, so they lose the same channel (orange), and B and D,\n"
                      "which read them, lose the input. These four cuts are one group; the outputs of B another.",
            fontsize=8.5)
    return fig


def quantized_block():
    "A block in float, with quantizers, and as an integer kernel"
    fig, ax = canvas(8, 3.6)
    rows = ((3.1, "float", [("conv", BLUE), ("batch norm", GREY), ("ReLU6", GREY)]),
            (2.0, "training (QAT)\nafter folding", [("Q DQ", GREEN), ("conv, weights on a grid", BLUE), ("ReLU6", GREY),
                                                  ("Q DQ", GREEN)]),
            (0.9, "in the runtime", [("one integer kernel: uint8 in, int8 weights, int32 sums and bias, uint8 out", ORANGE)]))
    for y, name, parts in rows:
        ax.text(0.1, y, name, fontsize=9, va="center", weight="bold")
        x = 1.75
        for i, (label, colour) in enumerate(parts):
            width = min(0.35 + 0.085*len(label), 6.1)
            if i: arrow(ax, (x, y), (x + 0.3, y)); x += 0.3
            box(ax, x + width/2, y, label, width, 0.5, colour)
            x += width
    arrow(ax, (3.0, 2.8), (3.0, 2.3), "fold: the norm's scale goes into the weights,\nits shift into the bias", shift=(2.1, -0.03))
    arrow(ax, (3.0, 1.7), (3.0, 1.2), "export: a runtime puts one kernel in the place of\nDQ, conv, ReLU6, Q", shift=(2.1, -0.03))
    ax.text(0.1, 0.2, "Q: to integers, round(x/s) + z, clipped. DQ: back to reals, s (q - z). Both see the same numbers.", fontsize=8.5)
    return fig


def packed_file():
    "What lies in a packed file of 100 KB"
    fig, ax = canvas(8, 2.1)
    parts = ((0.9, "metadata\n(JSON)", GREY), (4.6, "integers: weights of 8, 4 and 2 bits, packed\nlayer after layer", BLUE),
             (0.55, "zero\npoints", PINK), (1.75, "floats (16 bits):\nscales, biases", GREEN))
    x = 0.1
    for width, label, colour in parts:
        box(ax, x + width/2, 1.45, label, width - 0.04, 0.75, colour, 8.5)
        x += width
    for k, colour in enumerate(("#0072b2", "#e69f00", "#009e73", "#cc79a7")):
        ax.add_patch(plt.Rectangle((1.6 + 0.5*k, 0.42), 0.48, 0.26, color=colour, alpha=0.45))
        ax.text(1.84 + 0.5*k, 0.55, f"w{k}", ha="center", va="center", fontsize=8)
    arrow(ax, (2.6, 0.72), (2.6, 1.05))
    ax.text(3.75, 0.55, "four weights of 2 bits in a byte, two of 4 bits, one of 8", fontsize=8.5, va="center")
    ax.text(0.1, 0.08, "The metadata says how to rebuild the network: architecture, widths, bits of each layer.", fontsize=8.5)
    return fig


def data_flow():
    "From a Task to a page"
    fig, ax = canvas(8, 2.5)
    steps = ((0.75, "Task", "images, split,\nhash", BLUE), (2.35, "Run", "one recipe,\none seed", ORANGE),
             (4.0, "Record", "a flat row of\nmeasurements", GREEN), (5.6, "table", "mean, interval,\ntest over seeds", PINK),
             (7.2, "page", "report, paper", GREY))
    for i, (x, name, what, colour) in enumerate(steps):
        box(ax, x, 1.7, name, 1.1, 0.6, colour, 10)
        ax.text(x, 1.2, what, ha="center", va="top", fontsize=8)
        if i: arrow(ax, (steps[i - 1][0] + 0.55, 1.7), (x - 0.55, 1.7))
    box(ax, 2.35, 0.35, "executed notebook, checkpoint,\npredictions", 2.2, 0.5, "white", 8)
    arrow(ax, (2.35, 0.82), (2.35, 0.62)); arrow(ax, (3.45, 0.4), (5.4, 0.4), "verified export", shift=(0, 0.06))
    box(ax, 6.1, 0.35, "Artifact (.onnx, ...)", 1.4, 0.5, "white", 8)
    return fig


DIAGRAMS = distillation, residual_group, quantized_block, packed_file, data_flow

if __name__ == "__main__":
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lightvision", "font.family": "sans-serif"})
    folder = Path("nbs/diagrams")
    folder.mkdir(exist_ok=True)
    for draw in DIAGRAMS:
        draw().savefig(folder/f"{draw.__name__}.svg", metadata={"Date": None})
