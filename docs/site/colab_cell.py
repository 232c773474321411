# Get the course, add the packages that are missing here, fetch the default model.
import os
import subprocess
import sys
import tomllib

ADDRESS = os.environ.get("COURSE_ADDRESS", "https://github.com/OWNER/NAME")  # the repository of the course

if not os.path.isdir("several-tokens"):
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ADDRESS, "several-tokens"], check=True)
with open("several-tokens/pyproject.toml", "rb") as file:
    pinned = tomllib.load(file)["project"]["dependencies"]
# Versions that are here already stay: only the names are asked for, not the pins.
names = [pin.split("==")[0] for pin in pinned if not pin.startswith(("jupyterlab", "nbval"))]
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *names], check=True)
sys.path.insert(0, os.path.abspath("several-tokens"))  # after a restart of the runtime, run this cell again
subprocess.run([sys.executable, "-m", "course_utils", "fetch", "smollm2"], check=True, cwd="several-tokens")
