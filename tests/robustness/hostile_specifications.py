"""Hostile specifications: each is a file for `cnncli check`, and what its one line must say."""

import os

from hostile import OK, SPECIFICATION, Case, bytes_of

INPUT = "input: {channels: 1, size: [8, 8]}\n"
GOOD = INPUT + "layers: [flatten, dense: 2]\n"


def specification(name, text, *says, code=SPECIFICATION, command="check"):
    content = text if isinstance(text, bytes) else text.encode()

    def make(folder):
        bytes_of(folder, "net.yaml", content)
        return [command, *(["--model"] if command != "check" else []), "net.yaml"]

    return Case(f"specification: {name}", make, code, ("net.yaml", *says))


def named(name, make, *says, code=SPECIFICATION):
    return Case(f"specification: {name}", make, code, says)


def layers(*items):
    return INPUT + "layers:\n" + "".join(f"  - {item}\n" for item in items)


def weights(init):
    return layers(f"conv: {{filters: 1, kernel: 1, init: {init}}}", "flatten")


def link(target, name="net.yaml"):
    def make(folder):
        os.symlink(target, folder / name)
        return ["check", name]

    return make


def fifo(folder):
    os.mkfifo(folder / "net.yaml")
    return ["check", "net.yaml"]


def directory(folder):
    (folder / "net.yaml").mkdir()
    return ["check", "net.yaml"]


def sparse(folder):
    with open(folder / "net.yaml", "wb") as file:
        file.truncate(2**40)
    return ["check", "net.yaml"]


def odd_name(name, content=b"layers: [\n"):
    def make(folder):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(content)
        return ["check", os.fsdecode(name)]

    return make


def laughs(levels, width=9):
    lines = ['a0: &a0 ["lol"]'] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels):
    lines = ["m0: &m0 {k: v}"] + [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


NESTED_BLOCKS = "blocks:\n" + "".join(
    f"  b{i}: {{layers: [{', '.join([f'b{i + 1}' if i < 7 else 'relu'] * 30)}]}}\n" for i in range(8)
)
PARAMETERS = (
    "blocks:\n"
    + "".join(f"  b{i}: {{parameters: {{v: null}}, layers: [b{i + 1}: {{v: [$v, $v, $v, $v]}}]}}\n" for i in range(7))
    + "  b7: {parameters: {v: null}, layers: [conv: {filters: 1, kernel: $v}]}\n"
)

HUGE = "input: {channels: 65536, size: [65536, 65536, 65536]}\nlayers: ["
HUGE_CONVOLUTION = HUGE + "conv: {filters: 65536, kernel: 65535}, flatten, dense: 2]\n"
CASES = [
    specification("exploding aliases", laughs(12), "net.yaml:1:", "anchors"),
    specification("exploding merge keys", merges(12), "net.yaml:1:", "anchors"),
    specification("an alias alone", GOOD + "name: *x\n", "net.yaml:3:", "aliases"),
    specification("a merge key alone", GOOD + "<<: {name: x}\n", "net.yaml:3:", "merge"),
    *(
        specification(f"10,000 levels of {what}", GOOD + "train: " + text * 10_000, "net.yaml:")
        for what, text in {"lists": "[", "mappings": "{a: ", "items": "- ", "lines": "[\n", "keys": "? "}.items()
    ),
    specification("10,000 levels by indentation", "".join(f"{' ' * (i % 1400)}a:\n" for i in range(1400)), "net.yaml:"),
    specification("a number of 5,000 digits", INPUT + f"layers: [dense: {'9' * 5000}]\n", "net.yaml:2:", "digits"),
    specification("a fraction of 5,000 digits", GOOD + f"train: {{warmup: 0.{'9' * 5000}}}\n", code=OK),
    specification(
        "an exponent of 5,000 digits", GOOD + f"train: {{warmup: 1e{'9' * 5000}}}\n", "net.yaml:3:", "finite"
    ),
    specification("900,000 hexadecimal digits", INPUT + f"layers: [dense: 0x{'f' * 900_000}]\n", "net.yaml:2:"),
    specification("a million hexadecimal digits", INPUT + f"layers: [dense: 0x{'f' * 1_000_000}]\n", "1 MB"),
    specification("900,000 octal digits", INPUT + f"layers: [dense: 0o{'7' * 900_000}]\n", "net.yaml:2:"),
    specification("a size of 2^63", f"input: {{channels: 1, size: [{2**63}, 8]}}\nlayers: [relu]\n", "net.yaml:1:"),
    specification("a negative size", "input: {channels: 1, size: [-8, 8]}\nlayers: [relu]\n", "net.yaml:1:"),
    specification("2^63 channels", f"input: {{channels: {2**63}, size: [8]}}\nlayers: [relu]\n", "net.yaml:1:"),
    specification("2^63 filters", layers(f"conv: {{filters: {2**63}, kernel: 1}}"), "net.yaml:3:", "65536"),
    specification("a stride of 2^63", layers(f"max_pool: {{size: 2, stride: {2**63}}}"), "net.yaml:3:"),
    specification("a padding of 2^63", layers(f"conv: {{filters: 1, kernel: 1, padding: {2**63}}}"), "net.yaml:3:"),
    specification("2^63 repeats", layers(f"repeat: {{times: {2**63}, layers: [relu]}}"), "net.yaml:3:"),
    specification("2^63 epochs", GOOD + f"train: {{epochs: {2**63}}}\n", "net.yaml:3:"),
    specification("a seed of 2^63", GOOD + f"train: {{seed: {2**63}}}\n", "net.yaml:3:"),
    specification("a rate of 1e999", GOOD + "train: {optimizer: {sgd: 1e999}}\n", "net.yaml:3:", "finite"),
    specification("a rate that is not a number", GOOD + "train: {optimizer: {sgd: .nan}}\n", "net.yaml:3:", "finite"),
    specification("duplicate keys", GOOD + "name: a\nname: b\n", "net.yaml:4:", "duplicate", "line 3"),
    specification(
        "duplicate keys below", INPUT + "layers: [dense: {units: 2, units: 3}]\n", "net.yaml:2:", "duplicate"
    ),
    specification("a line of 900,000 spaces", " " * 900_000 + GOOD, "net.yaml:"),
    specification("a line of 900,000 letters", "x" * 900_000, "net.yaml:1:"),
    specification("900,000 letters for a name", GOOD + f"name: {'x' * 900_000}\n", "net.yaml:3:"),
    specification("900,000 letters for a key", GOOD + f"{'x' * 900_000}: 1\n", "net.yaml:3:"),
    specification("900,000 letters for a quoted key", GOOD + f'"{"x" * 900_000}": 1\n', "net.yaml:3:"),
    specification("a quote that never ends", GOOD + 'name: "' + "x\n" * 400_000, "net.yaml:3:"),
    specification("400,000 empty lines", "\n" * 400_000 + GOOD, code=OK),
    specification("a comment of 900,000 letters", "#" + "x" * 900_000 + "\n" + GOOD, code=OK),
    specification("300,000 items", INPUT + "layers: [" + "1," * 300_000 + "]\n", "net.yaml:2:", "20,000"),
    specification("100,000 keys", GOOD + "".join(f"k{i}:\n" for i in range(100_000)), "net.yaml:", "20,000"),
    specification("9,000 unknown keys", GOOD + "".join(f"k{i}:\n" for i in range(9_000)), "net.yaml:3:", "k0"),
    specification("19,000 wrong items", INPUT + "layers: [" + "x," * 19_000 + "]\n", "net.yaml:2:"),
    specification("10,001 layers", layers(*["relu"] * 10_001), "net.yaml:", "10,000"),
    specification("blocks that write 30^8 layers", INPUT + NESTED_BLOCKS + "layers: [b0]\n", "net.yaml:", "10,000"),
    specification("blocks that grow a value 4^8-fold", INPUT + PARAMETERS + "layers: [b0: [1, 1, 1, 1]]\n", "large"),
    specification("a block that uses itself", INPUT + "blocks: {b: {layers: [b]}}\nlayers: [b]\n", "itself"),
    specification(
        "repeats of repeats",
        layers("repeat: {times: 100, layers: [repeat: {times: 100, layers: [repeat: {times: 100, layers: [relu]}]}]}"),
        "net.yaml:3:",
        "10,000",
    ),
    specification("NUL bytes", GOOD.replace("layers", "la\0ers"), "net.yaml:2:", "U+0000"),
    specification("nothing but NUL bytes", b"\0" * 1000, "net.yaml:1:", "U+0000"),
    specification("UTF-16", GOOD.encode("utf-16"), "net.yaml:1:", "UTF-8"),
    specification("UTF-16 without a mark", GOOD.encode("utf-16-le"), "net.yaml:1:"),
    specification("UTF-32", GOOD.encode("utf-32"), "net.yaml:1:"),
    specification("Latin-1", GOOD.encode() + "name: café\n".encode("latin-1"), "net.yaml:3:", "0xE9"),
    specification("half a character", GOOD.encode() + b"name: \xc3", "net.yaml:3:", "UTF-8"),
    specification("a surrogate in UTF-8", GOOD.encode() + b"name: \xed\xa0\x80\n", "net.yaml:3:", "UTF-8"),
    specification("an overlong slash", GOOD.encode() + b"name: \xc0\xaf\n", "net.yaml:3:", "UTF-8"),
    specification("a byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), code=OK),
    specification("two byte order marks", b"\xef\xbb\xbf" * 2 + GOOD.encode(), code=OK),
    specification("a terminal's escape sequence", GOOD + 'name: "\\e]0;owned\\a"\n', "net.yaml:3:", "\\x1b"),
    specification("text that runs backwards", GOOD + "name: \u202ebackwards\n", "net.yaml:3:", "\\u202e"),
    specification("a tag of Python's", "!!python/object/apply:os.system ['touch owned']\n", "net.yaml:1:", "tags"),
    specification("a tag for a module", "name: !!python/module:os\n" + GOOD, "net.yaml:1:", "tags"),
    specification("a tag for bytes", "name: !!binary aGk=\n" + GOOD, "net.yaml:1:", "tags"),
    specification("a directive", "%YAML 1.1\n---\n" + GOOD, "net.yaml:", "directives"),
    specification("a tag's directive", "%TAG ! tag:x,2000:\n---\n" + GOOD, "net.yaml:", "directives"),
    specification("two documents", GOOD + "---\n" + GOOD, "net.yaml:3:", "second document"),
    specification("nothing", "", "net.yaml:1:", "empty"),
    specification("a list", "- 1\n", "net.yaml:1:"),
    specification("a list for a key", "? [a]\n: 1\n", "net.yaml:1:"),
    specification(
        "code for a number", INPUT + "layers: [dense: __import__('os').system('touch owned')]\n", "net.yaml:2:"
    ),
    specification("code for a name", GOOD + "name: $(touch owned)\n", "net.yaml:3:"),
    specification("a path for a name", GOOD + "name: ../../owned\n", "net.yaml:3:"),
    specification("dots for a name", GOOD + "name: ..\n", "net.yaml:3:"),
    specification("weights of words", weights("{values: ['1']}"), "net.yaml:3:"),
    specification("weights of NaN", weights("{values: [['nan']]}"), "net.yaml:3:"),
    specification("weights of nothing", weights("{values: [[null]]}"), "net.yaml:3:"),
    specification("weights of true", weights("{values: [[true]]}"), "net.yaml:3:"),
    specification("weights of 1e300", weights("{values: [[1e300]]}"), "net.yaml:3:"),
    specification("weights of uneven lists", weights("{values: [[1], [1, 2]]}"), "net.yaml:3:"),
    specification("weights 30 lists deep", weights("{values: " + "[" * 26 + "1" + "]" * 26 + "}"), "net.yaml:3:"),
    specification("a constant of 1e300", weights("{constant: 1e300}"), "net.yaml:3:"),
    specification("a network of 2^60 numbers", HUGE_CONVOLUTION, code=OK),
    specification("its summary", HUGE_CONVOLUTION, code=OK, command="summary"),
    specification("waves of 1e308", weights("{gabor: {f: [1e308]}}"), "net.yaml:3:"),
    specification("a picture 65,536^40 times as large", layers(*["upsample: 65536"] * 40, "flatten"), code=OK),
    specification("borders of 65,536 pixels", layers(*["pad: 65536"] * 1000, "flatten"), code=OK),
    specification(
        "connections of 2^45 weights",
        HUGE + f"conv: {{filters: 2000, kernel: 64, connections: [{'[0], ' * 2000}]}}, flatten]\n",
        code=OK,
    ),
    *(
        specification(f"{kind} of 2^64 channels", HUGE + f"flatten, {kind}, dense: 2]\n", code=OK)
        for kind in ("batch_norm", "prelu", "rbf: 9")
    ),
    named("a FIFO", fifo, "net.yaml", "not a regular file"),
    named("a directory", directory, "net.yaml", "not a regular file"),
    named("a file of 1 TB", sparse, "net.yaml:1:", "1 MB"),
    named("a link to /dev/zero", link("/dev/zero"), "net.yaml", "not a regular file"),
    named("a link to itself", link("net.yaml"), "net.yaml"),
    named("a link to nothing", link("nowhere"), "net.yaml"),
    named("/dev/zero", lambda folder: ["check", "/dev/zero"], "/dev/zero", "not a regular file"),
    named("a name with a newline", odd_name(b"a\nb.yaml"), "a\\nb.yaml:"),
    named("a name with an escape sequence", odd_name(b"\x1b[31mred.yaml"), "\\x1b[31mred.yaml:"),
    named("a name of bytes that are no text", odd_name(b"\xff\xfe.yaml"), ".yaml:"),
    named("a good file of such a name", odd_name(b"\xff\xfe.yaml", GOOD.encode()), code=OK),
    named("a good file of a name with a newline", odd_name(b"a\nb.yaml", GOOD.encode()), code=OK),
    named("a name of 5,000 letters", lambda folder: ["check", "x" * 5000], "xxx"),
    named(
        "an override that nests", lambda folder: ["check", "lenet", "--set", "train.epochs=" + "[" * 10_000], "--set"
    ),
    named(
        "an override of a million positions",
        lambda folder: ["check", "lenet", "--set", "layers[999999999].conv=1"],
        "--set",
    ),
    named(
        "an override of 30,000 steps",
        lambda folder: ["check", "lenet", "--set", "train" + ".a" * 30_000 + "=1"],
        "--set",
    ),
]
