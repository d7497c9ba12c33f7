"""Let `import torchvision` work beside a CPU build of torch.

The torchvision wheel on the package index is built for CUDA. Beside a CPU torch its C++ operators cannot load, and the
Python part then stops with "operator torchvision::nms does not exist". Declaring the two operators that the Python
part registers meta kernels for is enough for transforms, datasets and models (so for timm too). `torchvision.ops.nms`
and `decode_jpeg` stay unavailable; nothing here uses them.

    python tools/torchvision_cpu.py      installs the repair into this interpreter's site-packages

Where the two builds match, the repair is loaded and does nothing.
"""
import sys

NAME = "lightvision_torchvision_cpu"
OPERATORS = ("nms", "qnms")


def needs_repair(version_file_text, torch_cuda):
    "True for a torchvision whose version.py says CUDA beside a torch that has none."
    return "+cu" in version_file_text and torch_cuda is None


class Repair:
    "A meta-path finder that steps in once, just before torchvision's first import, and then removes itself."
    libraries = []

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "torchvision": return None
        sys.meta_path.remove(cls)
        from importlib.machinery import PathFinder
        from pathlib import Path
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None: return spec
        import torch
        version_file = Path(spec.origin).with_name("version.py")
        if needs_repair(version_file.read_text(encoding="utf-8"), torch.version.cuda):
            library = torch.library.Library("torchvision", "FRAGMENT")
            for op in OPERATORS:
                library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            cls.libraries.append(library)  # the declarations live as long as the Library object
        return spec


def install():
    "Copy this file into site-packages, with a .pth file that loads it at every start of the interpreter."
    import shutil, sysconfig
    from pathlib import Path
    site = Path(sysconfig.get_paths()["purelib"])
    shutil.copyfile(__file__, site/f"{NAME}.py")
    (site/f"{NAME}.pth").write_text(f"import {NAME}\n", encoding="utf-8")


if __name__ == "__main__": install()
else: sys.meta_path.insert(0, Repair)
