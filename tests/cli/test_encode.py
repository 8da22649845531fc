"""``csrkit encode``: files and stores hold exactly the codes that Python makes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrkit import CSRModel, Searcher, SparseVectors
from csrkit.model.card import Rescore
from csrkit.stores import EdgeStore


def test_a_file_holds_the_codes(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, rows: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "codes.safetensors"
    facts = json.loads(run("encode", codec, embeddings, "-o", out, "--k", 3, "--json").stdout)
    expected = model.encode(rows, k=3)
    assert SparseVectors.load(out) == expected
    assert facts.pop("seconds") > 0
    assert facts == {
        "target": str(out),
        "rows": 500,
        "k": 3,
        "n_latents": 96,
        "mean_latents": round(expected.nnz / 500, 2),
        "empty": 0,
        "residual_bytes": 0,
        "refitted": False,
        "fingerprint": model.fingerprint,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "codec", "codes.safetensors", "rows.npy",
    ]  # fmt: skip


def test_a_store_of_another_codec_is_refused(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, tmp_path: Path
) -> None:
    url = f"edge://{tmp_path / 'index'}"
    run("encode", codec, embeddings, "--store", url)
    other = replace(model, latent_bias=model.latent_bias + 1)
    other.save(tmp_path / "other")
    result = run("encode", tmp_path / "other", embeddings, "--store", url, code=3)
    names = f"of the codec {model.fingerprint[:12]}, got the codec {other.fingerprint[:12]}"
    assert names in result.stderr
    assert run("search", tmp_path / "other", url, embeddings, code=3).stderr.count(names) == 1
    with EdgeStore(tmp_path / "index") as store:
        assert store.fetch([0]) == model.encode(np.load(embeddings)[:1])


def test_blocks_join_to_the_whole(
    run: Callable, codec: Path, model: CSRModel, tmp_path: Path
) -> None:
    rows = np.random.default_rng(2).normal(size=(9000, 16)).astype(np.float32)
    np.save(tmp_path / "a.npy", rows[:5000])
    np.save(tmp_path / "b.npy", rows[5000:])
    out = tmp_path / "codes.safetensors"
    result = run("encode", codec, tmp_path / "a.npy", tmp_path / "b.npy", "-o", out)
    assert result.stdout.startswith(f"{out}: 9000 codes of 8.0 latents")
    found, expected = SparseVectors.load(out), model.encode(rows)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)


def test_a_file_takes_no_more_memory_than_its_blocks(
    run: Callable, codec: Path, tmp_path: Path
) -> None:
    """Regression: all codes were held, and joined, before any was written."""
    rows = np.random.default_rng(2).normal(size=(120_000, 16)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    out = tmp_path / "codes.safetensors"
    command = ("encode", codec, tmp_path / "rows.npy", "-o", out, "--k", 96)
    tracemalloc.start()
    try:
        run(*command)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out.stat().st_size > 30_000_000
    assert peak < out.stat().st_size / 2  # of which a third are the embeddings, as float32
    assert len(SparseVectors.load(out)) == 120_000


def test_a_store_gets_the_residual_bits_that_a_searcher_would_store(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, rows: np.ndarray, tmp_path: Path
) -> None:
    with EdgeStore(tmp_path / "python") as store:
        Searcher(model, store).upsert(range(500), rows)
        expected = store.fetch_residuals(range(500))
    command = ("encode", codec, embeddings, "--store", f"edge://{tmp_path / 'shell'}")
    result = run(*command)
    told = rf".*\(k = 8 of 96\), each with {model.residual_bytes} bytes of residual bits, in .*\n"
    assert re.fullmatch(told, result.stdout), result.stdout
    with EdgeStore(tmp_path / "shell") as store:
        np.testing.assert_array_equal(store.fetch_residuals(range(500)), expected)
    again = json.loads(run(*command, "--start", 480, "--json").stdout)  # as the store holds them
    assert (again["rows"], again["residual_bytes"]) == (20, model.residual_bytes)
    refused = run(*command, "--no-residuals", code=2).stderr
    assert "--no-residuals: the store was filled with residual bits: leave the option" in refused


@pytest.mark.parametrize(
    ("options", "searched_by", "is_refitted"),
    [(["--no-residuals"], "codes", True), (["--rescore", "none"], None, False)],
)
def test_a_store_without_residual_bits_holds_what_a_searcher_would_store(
    options: list[str],
    searched_by: Rescore | None,
    is_refitted: bool,
    run: Callable,
    codec: Path,
    embeddings: Path,
    model: CSRModel,
    rows: np.ndarray,
    tmp_path: Path,
) -> None:
    command = ("encode", codec, embeddings, "--store", f"edge://{tmp_path / 'index'}", "--json")
    for more in (options, []):  # the second goes on as the first began
        facts = json.loads(run(*command, *more).stdout)
        assert (facts["residual_bytes"], facts["refitted"]) == (0, is_refitted)
    plain = model.encode(rows)
    expected = model.refit(rows, plain) if is_refitted else plain
    with EdgeStore(tmp_path / "index") as store:
        assert store.residual_bytes == 0
        assert Searcher(model, store, rescore=searched_by).holds.refitted == is_refitted
        stored = store.fetch(range(500))
    np.testing.assert_array_equal(stored.indices, expected.indices)
    np.testing.assert_allclose(stored.values, expected.values, rtol=1e-6)
    refused = run(*command, "--residuals", code=2).stderr
    assert "--residuals: the store was filled without residual bits: leave the option" in refused


def test_codes_are_as_long_as_the_codec_was_tuned_for(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, rows: np.ndarray, tmp_path: Path
) -> None:
    url, out = f"edge://{tmp_path / 'index'}", tmp_path / "c.safetensors"
    run("tune", codec, embeddings, "--k-doc", 5, "--store", "memory:")
    assert json.loads(run("encode", codec, embeddings, "-o", out, "--json").stdout)["k"] == 5
    assert SparseVectors.load(out) == model.encode(rows, k=5)
    assert json.loads(run("encode", codec, embeddings, "--store", url, "--json").stdout)["k"] == 5
    assert run("encode", codec, embeddings, "-o", out, "--k", 8, "--json").exit_code == 0
    assert SparseVectors.load(out) == model.encode(rows, k=8)


def test_what_stops_a_file_leaves_the_old_one(
    run: Callable, start: Callable[..., Any], codec: Path, embeddings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codes.safetensors"
    run("encode", codec, embeddings, "-o", out)
    before = out.read_bytes()
    many = np.lib.format.open_memmap(tmp_path / "many.npy", "w+", np.float16, (2_000_000, 16))
    many[:] = 1
    process = start("encode", codec, tmp_path / "many.npy", "-o", out, "--progress")
    seen = ""
    while not re.search(r"encode: +[1-9]", seen):
        char = process.stderr.read(1)
        assert char, seen
        seen += char
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert err.endswith(f"csrkit: interrupted: nothing was written, {out} is as it was\n")
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".saving-*"))


def test_a_full_disk_is_told_with_the_file(codec: Path, embeddings: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes.safetensors"
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9000, 9000)); "
    code = limit + "from csrkit.cli import main; main()"
    command = [sys.executable, "-c", code, "encode", codec, embeddings, "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"csrkit: cannot write {out}: File too large\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codec", "rows.npy"]


def ids_file(kind: str, folder: Path, n: int) -> tuple[Path, list[int | str]]:
    words: list[int | str] = [f"doc-{i}" for i in range(n)]
    numbers: list[int | str] = [7 * i for i in range(n)]
    path = folder / f"ids.{kind.partition(' ')[0]}"
    if kind == "txt":
        path.write_text("\n".join(map(str, words)) + "\n")
        return path, words
    if kind == "txt of numbers":
        path.write_text("\n".join(map(str, numbers)) + "\n\n")
        return path, numbers
    if kind == "json":
        path.write_text(json.dumps([*words[:-1], 5]))
        return path, [*words[:-1], 5]
    np.save(path, np.array(numbers if kind == "npy" else words))
    return path, numbers if kind == "npy" else words


@pytest.mark.parametrize("kind", ["txt", "txt of numbers", "json", "npy", "npy of words"])
def test_a_store_holds_codes_ids_and_payloads(
    kind: str,
    run: Callable,
    codec: Path,
    embeddings: Path,
    model: CSRModel,
    rows: np.ndarray,
    tmp_path: Path,
) -> None:
    path, ids = ids_file(kind, tmp_path, 500)
    payloads = tmp_path / "docs.jsonl"
    payloads.write_text("".join(f'{{"text": "no. {i}"}}\n' for i in range(500)))
    url = f"edge://{tmp_path / 'index'}"
    options = ("--store", url, "--ids", path, "--payloads", payloads, "--json")
    facts = json.loads(run("encode", codec, embeddings, *options).stdout)
    assert (facts["target"], facts["rows"]) == (url, 500)
    codes = model.encode(rows)
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 500
        assert store.fetch(ids) == codes
        best = [hits[0] for hits in store.search(codes, limit=1)]
    assert [hit.id for hit in best] == ids
    assert [hit.payload for hit in best] == [{"text": f"no. {i}"} for i in range(500)]


def test_ids_are_row_numbers_and_start_skips(
    run: Callable, codec: Path, embeddings: Path, model: CSRModel, rows: np.ndarray, tmp_path: Path
) -> None:
    payloads = tmp_path / "docs.jsonl"
    payloads.write_text("".join(f'{{"n": {i}}}\n' for i in range(500)))
    url = f"edge://{tmp_path / 'index'}"
    run("encode", codec, embeddings, "--store", url, "--start", 490, "--payloads", payloads)
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 10
        assert store.fetch(range(490, 500)) == model.encode(rows)[490:]
        assert store.search(model.encode(rows[[492]]), limit=1)[0][0].payload == {"n": 492}


def test_empty_codes_are_counted_and_told(
    run: Callable, model: CSRModel, rows: np.ndarray, embeddings: Path, tmp_path: Path
) -> None:
    import dataclasses

    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    before = (unit - model.pre_bias) @ model.encoder.T + model.latent_bias
    lower = model.latent_bias - np.median(before.max(axis=1))  # nothing fires in half of the rows
    shy = dataclasses.replace(model, latent_bias=lower)
    shy.save(tmp_path / "shy")
    empty = int((shy.encode(rows).counts == 0).sum())
    assert empty == 250
    result = run("encode", tmp_path / "shy", embeddings, "-o", tmp_path / "c.safetensors")
    assert f"{empty} of them are empty" in result.stdout


def damaged(folder: Path) -> dict[str, Path]:
    """Write inputs that are wrong, each in its own way."""
    rng = np.random.default_rng(3)
    bad = {name: folder / f"{name}.npy" for name in ("text", "wide", "nan", "zero", "flat")}
    bad["text"].write_text("hello")
    np.save(bad["wide"], rng.normal(size=(5, 17)))
    np.save(bad["flat"], rng.normal(size=5))
    for name, value in (("nan", np.nan), ("zero", 0)):
        rows = rng.normal(size=(9, 16))
        rows[6] = value
        np.save(bad[name], rows)
    (folder / "hollow").mkdir()
    lines = {
        "few.txt": "a\nb\n",
        "twice.txt": "a\n" * 500,
        "float.json": json.dumps([0.5] * 500),
        "object.json": "{}",
        "short.jsonl": "{}\n" * 499,
        "list.jsonl": "{}\n[]\n" * 250,
        "broken.jsonl": "{}\n" * 499 + "{\n",
    }
    for name, text in lines.items():
        (folder / name).write_text(text)
    return bad | {"hollow": folder / "hollow"} | {name: folder / name for name in lines}


STORE = ("--store", "edge://{}/index")


@pytest.mark.parametrize(
    ("source", "options", "code", "message"),
    [
        ("gone", STORE, 2, r"expected a file that ends in one of"),
        ("gone.npy", STORE, 2, r"no file of embeddings at .*gone\.npy"),
        ("text", STORE, 2, r"text\.npy is not a readable \.npy file of numbers"),
        ("wide", STORE, 2, r"expected .*wide\.npy of shape \(n, 16\).*got \(5, 17\)"),
        ("nan", STORE, 2, r"row 6"),
        ("zero", STORE, 2, r"row 6"),
        ("flat", STORE, 2, r"expected .*flat\.npy of shape \(n, dim\), got \(5,\)"),
        ("hollow", STORE, 2, r"expected a folder with files .*found none in .*hollow"),
        ("rows", (*STORE, "--k", "0"), 2, r"expected k from 1 to n_latents=96, got .*k=0"),
        ("rows", (*STORE, "--k", "97"), 2, r"expected k from 1 to n_latents=96, got .*k=97"),
        ("rows", (*STORE, "--start", "500"), 2, r"expected --start from 0 to 499, got 500"),
        ("rows", (*STORE, "--ids", "few.txt"), 2, r"got 2 ids in .*few\.txt and 500 embeddings"),
        ("rows", (*STORE, "--ids", "twice.txt"), 2, r"is not a file of ids: .*each id once"),
        ("rows", (*STORE, "--ids", "float.json"), 2, r"is not a file of ids: .*got 0\.5"),
        ("rows", (*STORE, "--ids", "object.json"), 2, r"a list is expected, not dict"),
        ("rows", (*STORE, "--ids", "gone.txt"), 2, r"no file of ids at .*gone\.txt"),
        ("rows", (*STORE, "--payloads", "short.jsonl"), 2, r"got 499 lines in .*and 500 emb"),
        ("rows", (*STORE, "--payloads", "list.jsonl"), 2, r"line 2: list instead of an object"),
        ("rows", (*STORE, "--payloads", "broken.jsonl"), 2, r"line 500: Expecting property"),
        ("rows", (*STORE, "--payloads", "gone.jsonl"), 2, r"no file of payloads at .*gone"),
        ("rows", (), 2, r"expected one of --output FILE and --store URL"),
        ("rows", (*STORE, "-o", "{}/c.safetensors"), 2, r"expected one of --output FILE and"),
        ("rows", ("-o", "{}/c.npy"), 2, r"expected an output that ends in \.safetensors"),
        ("rows", ("-o", "/proc/c.safetensors"), 2, r"No such file or directory"),
        ("rows", ("-o", "{}/c.safetensors", "--ids", "few.txt"), 2, r"are for --store"),
        ("rows", ("--store", "index"), 2, r"expected a URL with one of the schemes .*'index'"),
        ("rows", ("--store", "edge://"), 2, r"expected 'edge://' and a folder"),
        ("rows", ("--store", "qdrant://nohost"), 2, r"expected qdrant://host:6333/collection"),
        ("rows", ("--store", "edge://{}/hollow/../codec"), 3, r"is not empty and no csrkit store"),
        ("rows", ("--store", "edge:///proc/index"), 3, r"cannot write to the store's folder"),
    ],
)
def test_bad_input_is_told_in_one_line_and_nothing_is_stored(
    source: str,
    options: tuple[str, ...],
    code: int,
    message: str,
    run: Callable,
    codec: Path,
    embeddings: Path,
    tmp_path: Path,
) -> None:
    files = damaged(tmp_path) | {"rows": embeddings}
    arguments = [
        files.get(option, tmp_path / option) if before in ("--ids", "--payloads")
        else option.format(tmp_path)
        for before, option in zip(("", *options), options, strict=False)
    ]  # fmt: skip
    result = run("encode", codec, files.get(source, tmp_path / source), *arguments, code=code)
    assert re.fullmatch(rf"csrkit: .*{message}.*\n", result.stderr), result.stderr
    assert result.stdout == ""
    assert not list(tmp_path.glob("*.safetensors"))
    if (tmp_path / "index").exists():  # a bad row shows up after the store was made
        with EdgeStore(tmp_path / "index") as store:
            assert store.count() == 0


def test_a_store_that_fails_midway_says_where_to_go_on(
    run: Callable, codec: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "r.npy", np.random.default_rng(0).normal(size=(5000, 16)))
    reserved = ["{}"] * 4500 + ['{"csrkit_id": 1}'] + ["{}"] * 499  # a key no payload may use
    (tmp_path / "p.jsonl").write_text("\n".join(reserved))
    options = ("--store", f"edge://{tmp_path / 'index'}", "--payloads", tmp_path / "p.jsonl")
    result = run("encode", codec, tmp_path / "r.npy", *options, code=3)
    assert "payload of id 4500 uses the key 'csrkit_id'" in result.stderr
    assert "rows up to 4096 of 5000 are stored; run the same command again" in result.stderr
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 4096


def test_ctrl_c_can_be_resumed(
    start: Callable[..., Any], run: Callable, codec: Path, model: CSRModel, tmp_path: Path
) -> None:
    rows = np.random.default_rng(4).normal(size=(60_000, 16)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    command = ("encode", codec, tmp_path / "rows.npy", "--store", f"edge://{tmp_path / 'index'}")
    process = start(*command, "--progress", "--json")
    seen = ""
    while not re.search(r"encode: +[1-9]", seen):
        char = process.stderr.read(1)
        assert char, seen
        seen += char
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 4, err
    assert out == ""
    assert "Traceback" not in err
    match = re.search(r"csrkit: interrupted: rows up to (\d+) of 60000 are stored.*--start \1", err)
    assert match, err
    reached = int(match[1])
    assert 0 < reached < 60_000
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() >= reached
    run(*command, "--start", reached)
    sample = [0, reached - 1, reached, 59_999]
    with EdgeStore(tmp_path / "index") as store:
        assert store.count() == 60_000
        stored = store.fetch(sample)
    np.testing.assert_allclose(stored.to_dense(), model.encode(rows[sample]).to_dense(), atol=1e-6)
