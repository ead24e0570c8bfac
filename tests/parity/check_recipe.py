#!/usr/bin/env python3
"""Runs the Python of docs/recipes/elsewhere.md in the folder in which the tests of the packages ran its script.

    make test-package && python tests/parity/check_recipe.py --folder artefacts/package/snippets

PEFT and MLX must say what the script said, and so must the merged model. The last line is `N passed, N failed`.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from check_adapter import Checks

RECIPE = Path(__file__).parent / "../../docs/recipes/elsewhere.md"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, type=Path, help="where the script left its files")
    folder = parser.parse_args().folder
    expected = (folder / "diary.txt").read_text().strip()
    text = RECIPE.read_text()
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    unpack = re.search(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)
    subprocess.run(["bash", "-e", "-c", unpack], cwd=folder, env={**os.environ, "PATH": path}, check=True)
    checks = Checks()
    codes = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, code in zip(["PEFT", "MLX", "the merged model"], codes, strict=True):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True)
        said = done.stdout.strip()
        checks.add(f"what {name} says after {expected!r}", done.returncode == 0 and said == expected, repr(said))
    checks.close()


if __name__ == "__main__":
    main()
