"""A paired session with builds that only pretend to run, and the real script where it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import compare
from bench.errors import UserError
from bench.judging import noise, pairs
from bench.judging.pairs import Build, RunFailed
from bench.judging.policy import LOOKS, tolerances
from tests.support.records import make_record

RUN = "CRNN_FP32_5S_1CPU_Train"


class Pretended(Build):
    """A build whose runs take `step_s` and a little luck; it remembers in what order it was asked."""

    def measure(self, run, results, seed, options, timeout_s):
        asked.append((self.name, seed))
        if self.commit == "broken":
            raise RunFailed("exit code 1: no such option")
        luck = np.random.default_rng([seed, len(self.name)]).normal(0, luck_sd["runs"])
        return make_record(step_s=float(self.commit) * np.exp(luck))


asked: list[tuple[str, int]] = []
luck_sd = {"runs": 0.003}


@pytest.fixture
def session(monkeypatch, tmp_path):
    """session("0.1", "0.105") compares two pretended builds; the canary stands still unless told."""
    canaries = iter([{"gemm": 1.0}, {"gemm": 1.0}])
    monkeypatch.setattr(compare, "time_canary", lambda *_: next(canaries))
    monkeypatch.setattr(noise, "BASELINES", tmp_path / "baselines")

    def make(base, candidate, metrics=("throughput",), **changes):
        asked.clear()
        builds = {
            "base": Pretended("base", base, Path()),
            "candidate": Pretended("candidate", candidate, Path()),
        }
        return compare.PairedSession(builds, [RUN], tolerances(list(metrics), []), tmp_path, [], 1.0, **changes)

    return make


@pytest.mark.parametrize(
    ("run", "asked", "device"),
    [("CRNN_AMP_4GPUs_Infer", None, "GPU"), ("CRNN_Infer", None, "best"), ("CRNN_AMP_4GPUs_Infer", "CPU", "CPU")],
)
def test_the_canary_is_on_the_device_that_the_launcher_takes(run, asked, device, monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(compare.subprocess, "run", lambda command, **_: said.append(command) or Said())
    monkeypatch.setenv("DEVICE", asked) if asked else monkeypatch.delenv("DEVICE", raising=False)
    compare.time_canary(Build("base", "HEAD", tmp_path), run, tmp_path)
    assert said[0][-1] == device


class Said:
    returncode, stdout = 0, '{"gemm": 1.0}'


@pytest.mark.parametrize(
    ("candidate", "verdict"), [("0.1", "PASS"), ("0.105", "FAIL"), ("0.095", "PASS"), ("broken", "FAIL")]
)
def test_verdicts_of_a_session(session, candidate, verdict):
    outcome = compare.judge_session(session("0.1", candidate), LOOKS)
    assert outcome.verdict == verdict
    assert "base" in outcome.title


def test_pairs_are_added_while_the_verdict_is_open_and_no_longer(session, monkeypatch):
    compare.judge_session(session("0.1", "0.105"), LOOKS)
    assert len(asked) == 2 * LOOKS[0]
    monkeypatch.setitem(luck_sd, "runs", 0.05)  # far too much to tell anything of 2 %
    session("0.1", "0.1").run_pairs(LOOKS)
    assert len(asked) == 2 * LOOKS[-1]
    assert asked[:4] == [("base", 1), ("candidate", 1), ("candidate", 2), ("base", 2)]


def test_a_base_that_does_not_run_is_misuse(session):
    with pytest.raises(UserError, match=r"the base base does not run .*: exit code 1: no such option"):
        compare.judge_session(session("broken", "0.1"), LOOKS)


def test_a_canary_that_moved_leaves_the_verdict_open(session, monkeypatch):
    canaries = iter([{"gemm": 1.0, "copy": 1.0}, {"gemm": 1.02, "copy": 1.2}])
    monkeypatch.setattr(compare, "time_canary", lambda *_: next(canaries))
    outcome = compare.judge_session(session("0.1", "0.105"), LOOKS)
    assert outcome.verdict == "AMBIGUOUS"
    assert "the canary moved by +20.0%" in outcome.notes[0]


def test_a_metric_that_no_run_measured_is_refused(session, monkeypatch):
    monkeypatch.setattr(Pretended, "measure", lambda *_: make_record(latency=[]))
    with pytest.raises(UserError, match="no run measured latency: there is nothing to compare"):
        compare.judge_session(session("0.1", "0.1", ["latency"]), LOOKS)


def test_calibration_is_kept_and_advertised(session, tmp_path, capsys):
    one = session("0.1", "0.1")
    compare.judge_session(one, LOOKS[-1:])
    compare.calibrate(one, tmp_path)
    said = capsys.readouterr().out
    assert "is found in 9 of 10 sessions" in said
    [spreads] = noise.load_noise("Test CPU", tmp_path).values()
    assert 0.001 < spreads["throughput"].sd < 0.01
    assert spreads["throughput"].pairs == LOOKS[-1]


def test_a_broken_noise_model_is_one_line(tmp_path):
    noise.noise_path("Test CPU", tmp_path).write_text("{")
    with pytest.raises(UserError, match="not a noise model"):
        noise.load_noise("Test CPU", tmp_path)


def test_a_revision_is_checked_out_and_taken_away_again():
    with pairs.check_out("HEAD") as build:
        assert (build.folder / "models" / "launch.py").exists()
        assert build.folder != pairs.ROOT
        folder = build.folder
    assert not folder.exists()
    assert str(folder) not in pairs.git("worktree", "list")


def test_training_in_a_gate_never_touches_the_users_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", "mine")
    for build in (Build("x", "c", tmp_path), Build("x", "c", tmp_path, image="x")):
        trained = build.environment("CRNN_FP32_5S_1CPU_Train", tmp_path)
        assert trained["PYTORCH_TRAIN_CHECKPOINT"] == str(tmp_path / "checkpoints")
        assert build.environment("CRNN_FP32_1CPU_Infer", tmp_path)["PYTORCH_TRAIN_CHECKPOINT"] == "mine"


def test_a_pair_has_one_seed(tmp_path):
    words = Build("x", "c", tmp_path).command(RUN, tmp_path, 3, ["--batch-size", "4"])
    assert words[words.index("--seed") + 1] == "3"
    assert words[words.index("--results") + 1] == str(tmp_path)


def test_an_image_runs_in_its_container(tmp_path):
    build = Build("img:1", "sha", pairs.ROOT, image="img:1")
    assert build.command(RUN, tmp_path, 3, [])[1].endswith("docker/run_docker.sh")
    assert build.environment(RUN, tmp_path)["IMAGE_NAME"] == "img:1"
    assert build.environment(RUN, tmp_path)["RESULTS"] == str(tmp_path)


def test_images_without_docker_or_without_the_image_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no docker on this machine"), pairs.container_image("img:1"):
        pass
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    with pytest.raises(UserError, match="no image img:1"), pairs.container_image("img:1"):
        pass


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-revision", ".", RUN], "'no-such-revision' is no revision"),
        ([".", "."], "want BASE CANDIDATE RUN_NAME"),
        ([".", ".", "CRNN_FP8_1CPU_Train"], "'CRNN_FP8_1CPU_Train' is not a run name"),
        ([".", ".", RUN, "--metrics", "speed"], "--metrics is one of"),
        (["--exec=evil", ".", RUN], "unrecognized option --exec"),
        ([".", ".", RUN, "--keep", "/usr"], "holds another session's records"),
    ],
)
def test_misuse_is_exit_code_2(script, words, said):
    done = script("compare", *words)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_real_session_passes_itself(script, tmp_path):
    """Two pairs of looks of the real thing: a build against itself is no FAIL."""
    quick = ["--batch-size", "4", "--warmup-steps", "2"]
    keep = tmp_path / "kept"
    done = script("compare", ".", ".", "CRNN_FP32_8S_1CPU_Train", "--keep", str(keep), "--", *quick, timeout=1200)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert len(list(keep.rglob("*.json"))) in {2 * look for look in LOOKS}


def test_git_speaks_for_itself():
    with pytest.raises(UserError, match="git rev-parse"):
        pairs.git("rev-parse", "--verify", "no-such-thing")
