"""Files for containers and clusters, as far as they can be judged without an engine. Really built: tests/containers."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

DOCKER = ROOT / "docker"
MANIFESTS = sorted(DOCKER.glob("kubernetes/*.yaml"))
SCRIPTS = [
    ROOT / "run_docker.sh",
    *DOCKER.glob("*.sh"),
    *DOCKER.glob("*.env"),
    *DOCKER.glob("slurm/*"),
    *ROOT.glob("tests/*/run.sh"),
]
BIN = Path(sys.executable).parent


def tool(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)


def test_linters_find_nothing():
    for command in (("hadolint", "Dockerfile"), ("shellcheck", "-x", *map(str, SCRIPTS))):
        done = tool(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_compose_fits_its_schema():
    done = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DOCKER / "compose.yaml"))
    assert done.returncode == 0, done.stdout


def test_every_compose_service_is_confined():
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services) == {"serve", "cpu", "cuda", "mlu"}
    for name, service in services.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["network_mode"] == ("bridge" if name == "serve" else "none")
        assert service["security_opt"] == ["no-new-privileges"]
        assert service["user"] == "${RUN_UID:-1000}:${RUN_GID:-1000}"
        assert "privileged" not in service and "cap_add" not in service


def test_the_image_runs_as_nobody_in_particular():
    users = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("USER")]
    assert users[-1:] == ["USER 1000:1000"]


def test_only_this_host_reaches_the_service():
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert [port.startswith("127.0.0.1:") for port in services["serve"]["ports"]] == [True]
    assert all(volume.endswith(":ro") for volume in services["serve"]["volumes"])


def pods(manifest: Path) -> list[dict]:
    """Every pod's specification in a manifest, of any kind."""
    found = []
    for document in yaml.safe_load_all(manifest.read_text()):
        replicas = document["spec"].get("pytorchReplicaSpecs", {})
        templates = [replica["template"] for replica in replicas.values()]
        templates += [document["spec"]["template"]] if "template" in document["spec"] else []
        found += [template["spec"] for template in templates]
    return found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_fit_their_schema(manifest, tmp_path):
    """Kubeflow's own kind has no schema here, its pods have."""
    file = tmp_path / "pods.yaml"
    wrapped = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod} for pod in pods(manifest)]
    file.write_text(yaml.safe_dump_all(wrapped))
    names = [str(file)] if "pytorchjob" in manifest.name else [str(file), str(manifest)]
    done = tool("kubernetes-validate", "--strict", *names)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_pods_are_confined_and_have_shared_memory(manifest):
    for pod in pods(manifest):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "/dev/shm" in {mount["mountPath"] for mount in container["volumeMounts"]}
            assert (ROOT / container["command"][1]).is_file()


@pytest.mark.parametrize("kind", ["job", "pytorchjob"])
def test_the_manifests_for_mlu_and_gpu_differ_in_their_cards_only(kind):
    mlu, gpu = ((DOCKER / "kubernetes" / f"{kind}-{device}.yaml").read_text() for device in ("mlu", "gpu"))
    for one, other in (("cambricon.com/mlu", "nvidia.com/gpu"), ("4MLUs", "4GPUs"), ("MLUs", "GPUs"), ("-mlu", "-gpu")):
        assert one in mlu
        mlu = mlu.replace(one, other)
    assert mlu == gpu


@pytest.mark.parametrize("device", ["cpu", "cuda", "mlu"])
def test_compose_and_settings_name_the_same_base_image(device):
    named = [line for line in (DOCKER / f"{device}.env").read_text().splitlines() if line.startswith("BASE_IMAGE=")]
    image = named[0].removeprefix("BASE_IMAGE=${BASE_IMAGE:-").removesuffix("}")
    assert image in (ROOT / ("Dockerfile" if device == "cpu" else "docker/compose.yaml")).read_text()


@pytest.fixture
def docker(tmp_path, told_to_docker):
    """docker(script, *words, **environment): what a docker/ script would have told Docker, and how it ended."""
    defaults = {
        "PATH": os.environ["PATH"],
        "DEV": str(tmp_path / "dev"),
        "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "checkpoints"),
        "RESULTS": str(tmp_path / "results"),
        "CRNN_SAMPLE": str(tmp_path / "sample"),
    }

    def run(script: str, *words: str, **environment: str) -> tuple[list[str], subprocess.CompletedProcess]:
        done = subprocess.run(
            ["bash", str(DOCKER / script), *words],
            env={**defaults, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return (json.loads(told_to_docker.read_text()) if done.returncode == 0 else []), done

    return run


def nodes(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_a_run_is_confined_belongs_to_the_caller_and_knows_its_image(docker, tmp_path):
    asked, done = docker("run_docker.sh", "CRNN_Infer", "--split", "val", SUDO_UID="1234", SUDO_GID="5678")
    assert done.returncode == 0, done.stderr
    text = " ".join(asked)
    for words in (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--network none",
        "--shm-size 8g",
        "--ulimit memlock=-1",
        "--user 1234:5678",
        "--env IMAGE_DIGEST=sha256:feed",
    ):
        assert words in text
    assert "--privileged" not in asked
    assert text.endswith("crnn-bench bash run_scripts/CRNN_Infer.sh --split val")


def test_privileged_only_when_asked_by_name(docker):
    asked, _ = docker("run_docker.sh", "--privileged", "cnmon")
    assert "--privileged" in asked
    assert asked[-2:] == ["crnn-bench", "cnmon"]


def test_mlu_nodes_are_found_whatever_the_driver_calls_them(docker, tmp_path):
    nodes(tmp_path / "dev", "cambricon_ctl", "cambricon_dev0", "cambricon_dev1", "cambr-msgq:0", "sda")
    asked, done = docker("run_docker.sh", "true")
    assert done.returncode == 0, done.stderr
    passed = [after for word, after in pairwise(asked) if word == "--device"]
    names = ("cambricon_ctl", "cambricon_dev0", "cambricon_dev1")
    assert passed == [f"{tmp_path}/dev/{name}:/dev/{name}" for name in names]
    assert f"type=bind,source={tmp_path}/dev/cambr-msgq:0,target=/dev/cambr-msgq:0" in asked
    assert "--group-add" in asked


def test_nvidia_cards_are_found_and_a_device_may_be_named(docker, tmp_path):
    nodes(tmp_path / "dev", "nvidia0", "nvidiactl")
    assert "--gpus" in docker("run_docker.sh", "true")[0]
    asked, _ = docker("run_docker.sh", "true", DEVICE="cpu")
    assert "--gpus" not in asked
    assert "DEVICE=CPU" in asked


def test_the_choice_of_cards_is_passed_on_and_a_stray_one_of_another_vendor_is_not(docker, tmp_path):
    nodes(tmp_path / "dev", "cambricon_dev0")
    chosen = {"MLU_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": ""}
    asked, done = docker("run_docker.sh", "true", **chosen)
    assert done.returncode == 0, done.stderr
    assert "MLU_VISIBLE_DEVICES" in asked
    assert "CUDA_VISIBLE_DEVICES" not in asked
    assert "CUDA_VISIBLE_DEVICES" in docker("run_docker.sh", "true", DEVICE="GPU", **chosen)[0]


OF_THE_HOST = {  # settings of env.sh that are paths here; inside, the image has its own, or a mount takes their place
    "PYTORCH_TRAIN_DATASET",
    "PYTORCH_TRAIN_CHECKPOINT",
    "CRNN_SAMPLE",
    "CRNN_VENV",
    "PYTHONPATH",
    "PYTHONUTF8",
}


def test_every_other_setting_of_env_sh_means_the_same_inside(docker):
    settings = set(re.findall(r"(\w+)=\$\{", (ROOT / "env.sh").read_text())) - OF_THE_HOST
    assert settings >= {"CRNN_FOLLOW_LINKS", "MALLOC_MMAP_MAX_", "IMAGE_NAME"}
    asked, done = docker("run_docker.sh", "true", CRNN_FOLLOW_LINKS="1")
    assert done.returncode == 0, done.stderr
    passed = {after.partition("=")[0] for word, after in pairwise(asked) if word == "--env"}
    assert settings <= passed


def test_folders_may_have_any_name(docker, tmp_path):
    data = tmp_path / "a:b, c"
    data.mkdir()
    asked, done = docker("run_docker.sh", "true", PYTORCH_TRAIN_DATASET=str(data))
    assert done.returncode == 0, done.stderr
    assert f'type=bind,"source={data}",target=/data,readonly' in asked


def test_a_quote_in_a_path_stays_in_it(docker, tmp_path):
    """--mount is a line of CSV: a quote inside quotes is doubled, else what follows is another option."""
    data = tmp_path / 'a",source=/etc,"b'
    data.mkdir(parents=True)
    asked, done = docker("run_docker.sh", "true", PYTORCH_TRAIN_DATASET=str(data))
    assert done.returncode == 0, done.stderr
    mount = next(word for word in asked if word.endswith(",target=/data,readonly"))
    assert next(csv.reader([mount]))[1] == f"source={data}"


@pytest.mark.parametrize("device", ["../../tmp/x", "common", "."])
def test_a_device_is_one_of_three_names(docker, device):
    _, done = docker("run_docker.sh", "true", DEVICE=device)
    assert done.returncode == 2 and "is not a device; there are cpu, cuda and mlu" in done.stderr


def test_several_hosts_get_the_network_and_their_places(docker):
    asked, _ = docker("run_docker.sh", "CRNN_Train", NNODES="2", NODE_RANK="1", MASTER_ADDR="a")
    assert asked[asked.index("--network") + 1] == "host"
    assert {"NNODES", "NODE_RANK", "MASTER_ADDR"} <= set(asked)
    assert "CARDS" not in asked


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DEVICE": "tpu"}, "'tpu' is not a device; there are cpu, cuda and mlu"),
        ({"NO_IMAGE": ""}, "no image crnn-bench here: bash docker/build.sh"),
        ({"PYTORCH_TRAIN_DATASET": "/nowhere"}, "PYTORCH_TRAIN_DATASET=/nowhere is not a folder"),
    ],
)
def test_bad_input_is_one_line(environment, said, docker):
    _, done = docker("run_docker.sh", "true", **environment)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]


def test_the_image_is_set_up_by_the_files_it_later_has():
    """setup.sh knows by all requirements*.txt whether it has run; one that came later would set up again, read-only."""
    assert "COPY requirements*.txt requirements*.lock env.sh ./\n" in (ROOT / "Dockerfile").read_text()
    assert '"$ROOT"/requirements*.{txt,lock}' in (ROOT / "run_scripts" / "setup.sh").read_text()


def test_an_image_keeps_the_vendors_torch(docker):
    asked, done = docker("build.sh", "mlu", BASE_IMAGE="vendor/pytorch:1")
    assert done.returncode == 0, done.stderr
    assert {"BASE_IMAGE=vendor/pytorch:1", "KEEP_TORCH=1"} <= set(asked)


DIGEST = f"sha256:{'0f' * 32}"


@pytest.mark.parametrize(
    ("base", "here", "built_from", "label"),
    [
        ("python:3.11", f"python@{DIGEST}\n", f"python:3.11@{DIGEST}", DIGEST),  # pulled
        (f"python:3.11@{DIGEST}", "", f"python:3.11@{DIGEST}", DIGEST),  # pinned
        ("python:3.11", "", "python:3.11", ""),  # made or loaded here
    ],
)
def test_the_base_is_built_from_by_its_digest_and_labelled(base, here, built_from, label, docker):
    asked, done = docker("build.sh", "cpu", BASE_IMAGE=base, IMAGE_SAYS=here)
    assert done.returncode == 0, done.stderr
    assert {f"BASE_IMAGE={built_from}", f"BASE_DIGEST={label}"} <= set(asked)
    assert ("no digest of the base image" in done.stderr) is not bool(label)


@pytest.mark.parametrize("words", [("--build-arg", "BASE_IMAGE=other"), ("--build-arg=BASE_IMAGE=other",)])
def test_a_base_that_the_labels_would_not_name_is_refused(words, docker):
    _, done = docker("build.sh", "cpu", *words)
    assert done.returncode == 2 and "not as a --build-arg" in done.stderr


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_an_image_knows_its_commit_and_whether_the_tree_differs_from_it(docker):
    asked, _ = docker("build.sh")
    assert f"COMMIT={git('rev-parse', 'HEAD')}{'-dirty' * bool(git('status', '--porcelain'))}" in asked


ENGINES = {  # how a machine's docker behaves, the seconds there are, what the container test says
    "none answers": ("exit 1", "60", "skipped: no Docker engine answers"),
    "it hangs": ("sleep 50", "1", "skipped: 1 s are over at: preparations"),
    "it cannot pull": ('[ "$1" = info ]', "60", "skipped: no base image python:3.11-slim-bookworm, and it cannot be"),
    "another machine's": ('[ "$1 $2" != "run --rm" ]', "60", "skipped: this engine does not write into this machine's"),
    "it changes users": ("true", "60", "skipped: this engine changes users"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_a_machine_that_cannot_build_images_is_no_fault(case, tmp_path):
    """tests/containers/run.sh, with a shell in place of docker."""
    body, seconds, said = ENGINES[case]
    shim = tmp_path / "docker"
    shim.write_text(f"#!/bin/sh\n{body}\n")
    shim.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    settings = {"PATH": path, "CONTAINER_HELPERS": "/nowhere", "CONTAINER_SECONDS": seconds, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", ROOT / "tests/containers/run.sh"], env=settings, capture_output=True, text=True, timeout=40
    )
    assert done.returncode == 0, done.stderr
    assert f"containers: {said}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["docker"]  # it cleans up


def wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """A wheel with one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" * bool(requires)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"__version__ = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def vendor(tmp_path) -> Path:
    """Cambricon's layout: a virtual environment that holds their torch and the numpy it was built for."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "vendor"], check=True)
    [site] = tmp_path.glob("vendor/lib/python*/site-packages")
    for name, version in (("torch", "2.1.0+vendor"), ("numpy", "1.26.4")):
        zipfile.ZipFile(wheel(tmp_path, name, version)).extractall(site)
    for name, version in (("torch", "2.13.0"), ("numpy", "2.4.0")):  # what pip would like better
        wheel(wheels, name, version)
    wheel(wheels, "reader", "1.0", requires="numpy>=1.26")
    return tmp_path / "vendor" / "bin" / "python"


def set_up(tmp_path: Path, python: Path, tampered: bool = False, **environment: str) -> subprocess.CompletedProcess:
    """Source a copy of setup.sh whose requirements are three small wheels, with this Python first on the path."""
    for name in ("env.sh", "run_scripts/setup.sh"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    copy, wheels = tmp_path / "copy", tmp_path / "wheels"
    (copy / "requirements.txt").write_text("reader\nnumpy>=1.26\n")
    (copy / "requirements-torch.txt").write_text("torch==2.13.0\n")
    hashes = {path.name.split("-")[0]: sha256(path.read_bytes()).hexdigest() for path in wheels.iterdir()}
    (copy / "requirements.lock").write_text(
        f"# a comment\nnumpy==2.4.0 \\\n    --hash=sha256:{hashes['numpy']}\n"
        f"reader==1.0 \\\n    --hash=sha256:{'0' * 64 if tampered else hashes['reader']}\n"
    )
    ask = "import torch, numpy, reader; print(torch.__version__, numpy.__version__)"
    return subprocess.run(
        ["bash", "-c", f'source copy/run_scripts/setup.sh; "$PYTHON" -c "{ask}"'],
        cwd=tmp_path,
        env={
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "CRNN_VENV": str(tmp_path / "venv"),
            "PIP_NO_INDEX": "1",
            "CRNN_EXTRAS": "",
            "PIP_FIND_LINKS": str(tmp_path / "wheels"),
            **environment,
        },
        capture_output=True,
        text=True,
    )


def test_the_vendors_torch_and_its_numpy_stay(vendor, tmp_path):
    """Also from inside the vendor's virtual environment, which --system-site-packages alone does not show."""
    done = set_up(tmp_path, vendor, KEEP_TORCH="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2.1.0+vendor 1.26.4"


def test_what_a_vendors_image_lacks_is_installed_by_its_hash(vendor, tmp_path):
    """The same pins as elsewhere, less what the base brings; another file under a pinned name is refused."""
    done = set_up(tmp_path, vendor, tampered=True, KEEP_TORCH="1")
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


def test_an_extra_that_is_none_is_refused(vendor, tmp_path):
    done = set_up(tmp_path, vendor, CRNN_EXTRAS="server")
    assert done.returncode == 2 and "no requirements-server.txt; there are serve and render" in done.stderr


def test_an_index_that_does_not_answer_is_left_out_and_named(vendor, tmp_path):
    """pip would ask it five times for every package."""
    done = set_up(tmp_path, vendor, PIP_EXTRA_INDEX_URL="http://127.0.0.1:9/whl/cpu", no_proxy="127.0.0.1")
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:9/whl/cpu does not answer from here; going on without it" in done.stderr


def test_a_torch_without_mlus_on_a_host_that_has_them_is_no_surprise(vendor, tmp_path):
    next(tmp_path.glob("vendor/lib/python*/site-packages/torch.py")).unlink()
    (tmp_path / "dev").mkdir()
    assert "this host has MLUs" not in set_up(tmp_path, vendor, DEV=str(tmp_path / "dev")).stderr
    (tmp_path / "dev" / "cambricon_dev0").touch()
    again = set_up(tmp_path, vendor, DEV=str(tmp_path / "dev"), CRNN_VENV=str(tmp_path / "another"))
    assert "this host has MLUs, and" in again.stderr and "docs/mlu.md" in again.stderr


def test_a_base_without_torch_is_refused_where_the_vendors_is_wanted(vendor, tmp_path):
    next(tmp_path.glob("vendor/lib/python*/site-packages/torch.py")).unlink()
    done = set_up(tmp_path, vendor, KEEP_TORCH="1")
    assert done.returncode == 2
    assert "has no torch, and KEEP_TORCH=1 forbids to install one" in done.stderr


def test_settings_of_the_exchange_and_of_memory_mean_the_same_inside(docker):
    asked, done = docker("run_docker.sh", "CRNN_Infer", NCCL_ALGO="Ring", TORCH_NCCL_BLOCKING_WAIT="1", CNCL_X="2",
                         NVIDIA_TF32_OVERRIDE="0", PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True")  # fmt: skip
    assert done.returncode == 0, done.stderr
    passed = {asked[i + 1] for i, word in enumerate(asked) if word == "--env"}
    assert {
        "NCCL_ALGO",
        "TORCH_NCCL_BLOCKING_WAIT",
        "CNCL_X",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_CUDA_ALLOC_CONF",
    } <= passed


def test_recipes_of_ones_own_are_mounted(docker, tmp_path):
    asked, done = docker("run_docker.sh", "MINE_FP32_1E_1CPU_Train", CRNN_RECIPES=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f'type=bind,"source={tmp_path}",target=/recipes,readonly' in asked
    assert asked[asked.index("CRNN_RECIPES=/recipes") - 1] == "--env"
    _, done = docker("run_docker.sh", "true", CRNN_RECIPES=str(tmp_path / "none"))
    assert done.returncode == 2 and "is not a folder" in done.stderr


def test_the_words_of_the_model_zoo_start_a_shell(docker):
    """`export IMAGE_NAME=...; bash run_docker.sh [CONTAINER_NAME]`, of its page."""
    asked, done = docker("../run_docker.sh", "mlu_crnn", IMAGE_NAME="theirs")
    assert done.returncode == 0, done.stderr
    assert asked[asked.index("--name") + 1] == "mlu_crnn" and asked[-2:] == ["theirs", "bash"]
    assert "this is docker/run_docker.sh" in done.stderr
    asked, _ = docker("../run_docker.sh")
    assert "--name" not in asked and asked[-1] == "bash"
    asked, _ = docker("../run_docker.sh", "CRNN_Infer", "--split", "val")
    assert asked[-4:] == ["bash", "run_scripts/CRNN_Infer.sh", "--split", "val"]
