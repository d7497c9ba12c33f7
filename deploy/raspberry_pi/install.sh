#!/usr/bin/env bash
# On the Pi, beside the Bundle: sets up .venv with ONNX Runtime. Then: .venv/bin/python watch.py BUNDLE FOLDER
set -euo pipefail
cd "$(dirname "$0")"
case "$(uname -m)" in
    aarch64 | x86_64) ;;
    *) echo "install.sh: $(uname -m) has no wheels of ONNX Runtime: use the 64-bit Raspberry Pi OS" >&2; exit 1 ;;
esac
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "install.sh needs Python 3.11 or newer (Raspberry Pi OS Bookworm has it)")'
python3 -m venv .venv
.venv/bin/python -m pip install --quiet --only-binary=:all: --requirement requirements.txt
echo "ready: .venv/bin/python watch.py BUNDLE FOLDER"
