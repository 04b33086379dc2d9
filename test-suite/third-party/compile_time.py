"""How much longer the compilers take with relpolines, from the commands that ci/third-party has noted of both builds.

    compile_time.py WORK NAME ROUNDS

Each round runs every command of both builds once, those of one source file or crate one after the other, and adds up
the time of the processor that the compilers take: linkers, generators and the build system have no part in it. Only
rustc links where it makes a program.
"""

import os
import re
import shlex
import statistics
import sys
from pathlib import Path

VARIANTS = ("plain", "relpoline")
SOURCE = re.compile(r"\.(c|cc|cpp|cxx)$")
ASSIGNMENT = re.compile(r"\w+=")


def of_clang(folder):
    """Calls that compile something which is still there: what configure scripts try is not."""
    for note in folder.iterdir():
        directory, *words = note.read_text().split("\0")[:-1]
        sources = [word for word in words if SOURCE.search(word) and (Path(directory) / word).exists()]
        if not sources:
            continue
        if not {"-c", "-S", "-E"} & set(words):
            # It links as well.
            at = words.index("-o") if "-o" in words else len(words)
            words[at : at + 2] = ["-c"]
        yield (sources[0], *words[1:]), directory, words, {}


def of_cargo(log):
    """Calls of rustc in what `cargo -vv` printed."""
    for text in re.split(r"^ *Running `", log.read_text(), flags=re.MULTILINE)[1:]:
        words = first_command(text)
        variables = {}
        while ASSIGNMENT.match(words[0]):
            name, value = words.pop(0).split("=", 1)
            variables[name] = value
        if Path(words[0]).name in ("rustc", "relpoline-rustc"):
            subject = (variables["CARGO_CRATE_NAME"], variables["CARGO_PKG_VERSION"], "--test" in words)
            yield subject, variables["CARGO_MANIFEST_DIR"], words, variables


def first_command(text):
    """The words up to the first "`" that ends a line and is not quoted: descriptions of packages have many lines."""
    for end in re.finditer("`$", text, re.MULTILINE):
        try:
            return shlex.split(text[: end.start()])
        except ValueError:
            pass
    sys.exit(f"this is no command of cargo: {text[:200]}")


def commands(folder, variant):
    found = [*of_clang(folder / f"{variant}.commands"), *of_cargo(folder / f"{variant}.build.log")]
    return [command for _, *command in sorted(found, key=lambda command: str(command[0]))]


def processor_time(directory, words, variables):
    process = os.fork()
    if process == 0:
        os.chdir(directory)
        if "-o" in words:
            # Some builds remove it when they are done.
            os.makedirs(os.path.dirname(words[words.index("-o") + 1]) or ".", exist_ok=True)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        os.execvpe(words[0], words, os.environ | variables)
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"failed, though not in the build (status {status}, in {directory}): {shlex.join(words)}")
    return usage.ru_utime + usage.ru_stime


def main(work, name, rounds):
    folder = Path(work) / name
    calls = [commands(folder, variant) for variant in VARIANTS]
    if not calls[0] or len(calls[0]) != len(calls[1]):
        sys.exit(f"{name}: {len(calls[0])} calls of compilers in one build, {len(calls[1])} in the other")
    ratios, times = [], []
    for number in range(int(rounds)):
        sums = [0, 0]
        for at, pair in enumerate(zip(*calls)):
            # Neither is always the second, for which the source is in the cache.
            for which in (0, 1) if (at + number) % 2 else (1, 0):
                sums[which] += processor_time(*pair[which])
        times.append(sums)
        ratios.append(sums[1] / sums[0])
        print(f"{name}: round {number + 1}: {sums[0]:.1f} s, {sums[1]:.1f} s, {ratios[-1]:.3f}", flush=True)
    print(
        f"{name}: {len(calls[0])} calls of compilers, {statistics.median(plain for plain, _ in times):.1f} s, "
        f"with relpolines {statistics.median(ratios):.3f} of that ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
