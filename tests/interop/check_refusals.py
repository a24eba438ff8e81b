"""Bad input: a clear error, and nothing kept."""

import json
import os

import fixtures
import imagefile
from harness import Skip, check, equal, mounts_below, same_mapping, test
from stores import Store


def _stocked(area):
    """A store that has something to lose."""
    store = Store(area)
    small = imagefile.Layer()  # nothing in common with the images refused later
    small.add("small", data=b"small\n")
    layers = [small.bytes()]
    path = area.file("small")
    imagefile.write_image([("localhost/small:1", layers, imagefile.config_of(layers))],
                          "oci-archive", path)
    store.orlop("load", "-i", path)
    return store


def _refused(area, store, path, what, mention=()):
    before = store.snapshot()
    done = store.orlop("load", "-i", path, ok=False)
    same_mapping(store.snapshot(), before, f"the store after {what}")
    text = done.error.strip()
    check(text, f"{what}: no message")
    check(all(word in text for word in mention), f"{what}: the message lacks {mention}: {text}")
    # Whoever opens the store next must not trip over it either.
    equal(len(store.go("images", "-j").json), 1, f"images for Go after {what}")


def _files(kind):
    images = [fixtures.image()]
    return imagefile.docker_files(images) if kind == "docker-archive" else imagefile.oci_files(images)


def _write(area, kind, files, name):
    path = area.file(name)
    if kind == "oci-dir":
        imagefile.write_dir(files, path)
    else:
        imagefile.write_tar(files, path)
    return path


def _blobs(files, kind):
    """Paths of the layers' blobs, in order, and of the config."""
    if kind == "docker-archive":
        entry = json.loads(files["manifest.json"])[0]
        return entry["Layers"], entry["Config"]
    listed = json.loads(files["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(files["blobs/sha256/" + listed[7:]])
    return (["blobs/sha256/" + entry["digest"][7:] for entry in manifest["layers"]],
            "blobs/sha256/" + manifest["config"]["digest"][7:])


@test("refuse-wrong-digest")
def _(area):
    store = _stocked(area)
    for kind in fixtures.FORMATS:
        for which in (0, 2):
            files = _files(kind)
            layers, _ = _blobs(files, kind)
            other = fixtures.layers()[1]
            if kind != "docker-archive":
                other = imagefile.gzip.compress(other, mtime=0)
            files[layers[which]] = other
            path = _write(area, kind, files, f"wrong-{kind}-{which}")
            _refused(area, store, path, f"layer {which} with a wrong digest in {kind}", ("sha256:",))


@test("refuse-wrong-config-digest")
def _(area):
    store = _stocked(area)
    for kind in ("oci-archive", "oci-dir"):
        files = _files(kind)
        _, config = _blobs(files, kind)
        files[config] = files[config].replace(b"linux", b"Linux")
        _refused(area, store, _write(area, kind, files, "config-" + kind),
                 f"a wrong config in {kind}", ("sha256:",))


@test("refuse-flipped-bit-in-a-compressed-layer")
def _(area):
    store = _stocked(area)
    files = _files("oci-archive")
    layer = _blobs(files, "oci-archive")[0][0]
    data = bytearray(files[layer])
    data[len(data) // 2] ^= 4
    files[layer] = bytes(data)
    _refused(area, store, _write(area, "oci-archive", files, "flipped"), "a flipped bit")


@test("refuse-missing-blob")
def _(area):
    store = _stocked(area)
    for kind in fixtures.FORMATS:
        layers, config = _blobs(_files(kind), kind)
        for missing in (layers[0], layers[2], config):
            files = _files(kind)
            del files[missing]
            label = f"missing-{kind}-{os.path.basename(missing)[:8]}"
            _refused(area, store, _write(area, kind, files, label), label)


@test("refuse-truncated-file")
def _(area):
    store = _stocked(area)
    for kind in ("docker-archive", "oci-archive"):
        with open(fixtures.write(area, kind), "rb") as file:
            whole = file.read()
        for share in (0.1, 0.5, 0.9):
            path = area.write(f"cut-{kind}-{share}", whole[:int(len(whole) * share)])
            _refused(area, store, path, f"{kind} cut at {share:.0%}")
            before = store.snapshot()
            store.orlop("load", stdin=whole[:int(len(whole) * share)], ok=False)
            same_mapping(store.snapshot(), before, "the store after a cut standard input")


@test("refuse-unknown-format")
def _(area):
    store = _stocked(area)
    cases = {"nothing": b"", "text": b"hello, this is not an image\n" * 100,
             "zeros": bytes(20480), "noise": imagefile.noise("noise", 50_000)}
    for name, data in cases.items():
        _refused(area, store, area.write("unknown-" + name, data), name)
    imagefile.write_tar({"hello": b"x"}, area.file("plain.tar"))
    _refused(area, store, area.file("plain.tar"), "a tar that is no image")
    _refused(area, store, area.dir("empty-folder"), "an empty folder")
    _refused(area, store, area.file("not-there"), "a file that is not there", ("not-there",))


@test("refuse-malformed-json")
def _(area):
    store = _stocked(area)
    for kind, name in (("docker-archive", "manifest.json"), ("oci-archive", "index.json"),
                       ("oci-dir", "index.json")):
        files = _files(kind)
        files[name] = files[name][:-5]
        _refused(area, store, _write(area, kind, files, f"json-{kind}-{name}"),
                 f"malformed {name} in {kind}")


@test("refuse-number-of-layers-that-differs")
def _(area):
    store = _stocked(area)
    name, layers, config = fixtures.image()
    path = area.file("number")
    imagefile.write_image([(name, layers[:2], config)], "docker-archive", path)
    _refused(area, store, path, "fewer layers than diff ids")


@test("refuse-escaping-paths")
def _(area):
    store = _stocked(area)
    secret = area.write("secret", b"secret")
    outside = area.file("written-outside")
    hostile = imagefile.Layer()
    hostile.symlink("way", area.path)
    hostile.add("way/written-outside", data=b"x")
    for number, name in enumerate(("../../../../../../../../" + outside.lstrip("/"), outside)):
        hostile.add(name, data=str(number).encode())
    layer = hostile.bytes()
    path = area.file("hostile")
    imagefile.write_image([("localhost/h:1", [layer], imagefile.config_of([layer]))],
                          "docker-archive", path)
    store.orlop("load", "-i", path, ok=None)
    check(not os.path.exists(outside), "a layer wrote outside its root")
    links = imagefile.Layer()
    links.hardlink("stolen", secret)
    layer = links.bytes()
    path = area.file("hostile-link")
    imagefile.write_image([("localhost/h:2", [layer], imagefile.config_of([layer]))],
                          "docker-archive", path)
    store.orlop("load", "-i", path, ok=None)
    equal(os.stat(secret).st_nlink, 1, "links to a file outside")


@test("refuse-path-in-docker-manifest")
def _(area):
    store = _stocked(area)
    area.write("outside.json", b"{}")
    for bad in ("../outside.json", "/etc/passwd"):
        files = _files("docker-archive")
        manifest = json.loads(files["manifest.json"])
        manifest[0]["Config"] = bad
        files["manifest.json"] = imagefile.compact(manifest)
        label = "path-" + imagefile.digest(bad.encode())[7:15]
        _refused(area, store, _write(area, "docker-archive", files, label), f"config path {bad}")


@test("refuse-import-of-junk")
def _(area):
    store = _stocked(area)
    good = fixtures.layers()[2]
    cut = imagefile.gzip.compress(good, mtime=0)
    twice = imagefile.Layer()
    twice.add("a", data=b"1")
    twice.add("./a", data=b"2")
    cases = {"noise": imagefile.noise("x", 30_000), "cut gzip": cut[:len(cut) // 2],
             "cut tar": good[:1500], "a path twice": twice.bytes()}
    for name, data in cases.items():
        before = store.snapshot()
        store.orlop("import-layer", "-f", area.write("junk", data), ok=False)
        same_mapping(store.snapshot(), before, f"the store after importing {name}")


@test("refuse-hostile-ids")
def _(area):
    store = _stocked(area)
    before = store.snapshot()
    for bad in ("../escape", "a/b", "..", ".", "", "l", "staging", "tempdirs"):
        store.orlop("create-layer", "-i", bad, ok=None if bad == "" else False)
    if store.records("layers") != before["layers"]:  # an empty id means: choose one
        extra = [r["id"] for r in store.records("layers") if r not in before["layers"]]
        equal(len(extra), 1, "layers made by hostile ids")
        store.orlop("delete-layer", extra[0])
    same_mapping(store.snapshot(), before, "the store after hostile ids")
    check(not os.path.exists(os.path.join(store.graph, "escape")), "an id escaped")


@test("refuse-what-is-in-use")
def _(area):
    store = _stocked(area)
    image = store.image("localhost/small:1")
    store.orlop("create-container", "-n", "user", image["id"])
    before = store.snapshot()
    container = store.records("containers")[0]
    cases = [(["delete-image", image["id"]], "in use by a container"),
             (["delete-layer", image["layer"]], "layer"),
             (["delete-layer", container["layer"]], "in use by a container"),
             (["create-container", "-n", "user", image["id"]], "already in use"),
             (["create-layer", "-i", image["layer"]], "already in use"),
             (["delete-layer", "no-such-layer"], "layer"),
             (["mount", "no-such-container"], "")]
    for words, phrase in cases:
        done = store.orlop(*words, ok=False)
        theirs = store.go(*words, ok=False)
        equal(done.code, theirs.code, f"exit code of {words[0]}")
        check(phrase in done.error, f"{words[0]}: no {phrase!r} in {done.error!r}")
    same_mapping(store.snapshot(), before, "the store after refusals")


@test("reading-commands-create-nothing")
def _(area):
    graph, run_root = area.file("nowhere/graph"), area.file("nowhere/run")
    for words in (["images"], ["layers", "-j"], ["containers"], ["version"], ["exists", "x"]):
        area.run(area.options.orlop, "-g", graph, "-R", run_root, "-s", "overlay", *words, ok=None)
    check(not os.path.exists(area.file("nowhere")), "a reading command created the store")


@test("refuse-labels-without-selinux")
def _(area):
    # GET-21; with SELinux: tests/vm/run
    if os.path.exists("/sys/fs/selinux/enforce"):
        raise Skip("SELinux is enabled here")
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    store = _stocked(area)
    image = store.image("localhost/small:1")["id"]
    layer = store.orlop("create-layer", "-l", label).text.split()[0]
    store.orlop("create-container", "-n", "plain", image)
    for words in (["-l", label, "plain"], [layer], ["-l", label, "--read-only", image]):
        refused = store.orlop("mount", *words, ok=False)
        equal(store.go("mount", *words, ok=False).code, refused.code, f"exit code of mount {words}")
        check(label in refused.error and "SELinux is not enabled" in refused.error, f"mount {words}: {refused.error}")
        equal(mounts_below(store.graph + "/overlay/" + layer), [], "mounts")
    store.orlop("unmount", "plain", ok=None)
    point = store.mounted(store.orlop, "plain")
    check(os.path.exists(f"{point}/small"), "a mount without a label after refusals")
    store.orlop("unmount", "plain")
