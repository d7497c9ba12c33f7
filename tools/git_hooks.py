"""Tell git to clean notebooks as they are staged, and to merge them cell by cell (nbdev's filter and merge driver).

.gitattributes names the drivers; git wants their commands in its own configuration, which cannot be committed. Outside
of a git checkout this does nothing.
"""
import subprocess

COMMANDS = {
    "filter.clean-nbs.clean": ".venv/bin/python tools/clean_stdin.py",
    "filter.clean-nbs.smudge": "cat",
    "filter.clean-nbs.required": "false",
    "merge.nbdev-merge.name": "resolve conflicts with nbdev_fix",
    "merge.nbdev-merge.driver": ".venv/bin/nbdev_merge %O %A %B %P",
}


def git(*args): return subprocess.run(["git", *args], capture_output=True).returncode == 0


if __name__ == "__main__":
    if git("rev-parse", "--git-dir"):
        for key, command in COMMANDS.items(): git("config", "--local", key, command)
