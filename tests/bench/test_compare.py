"""A paired session with builds that only pretend to run, and the real script where it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import compare
from bench.errors import UserError
from bench.judging import noise, pairs, progress
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
        record = make_record(step_s=float(self.commit) * np.exp(luck), **changes.get((self.name, seed), {}))
        record.save(results)
        return record


asked: list[tuple[str, int]] = []
luck_sd = {"runs": 0.003}
changes: dict[tuple[str, int], dict] = {}  # what is other about the record of a side and pair


@pytest.fixture
def session(monkeypatch, tmp_path):
    """session("0.1", "0.105") compares two pretended builds; the canary stands still unless told."""
    canaries = iter([{"gemm": 1.0}, {"gemm": 1.0}])
    monkeypatch.setattr(compare, "time_canary", lambda *_: next(canaries))
    monkeypatch.setattr(noise, "BASELINES", tmp_path / "baselines")

    def make(base, candidate, metrics=("throughput",), **settings):
        asked.clear()
        changes.clear()
        builds = {
            "base": Pretended("base", base, Path()),
            "candidate": Pretended("candidate", candidate, Path()),
        }
        return compare.PairedSession(
            builds, [RUN], tolerances(list(metrics), []), tmp_path / "session", [], 1.0, **settings
        )

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
    outcome = compare.judge_session(session("0.1", candidate))
    assert outcome.verdict == verdict
    assert "base" in outcome.title


def test_pairs_are_added_while_the_verdict_is_open_and_no_longer(session, monkeypatch):
    compare.judge_session(session("0.1", "0.105"))
    assert len(asked) == 2 * LOOKS[0]
    monkeypatch.setitem(luck_sd, "runs", 0.05)  # far too much to tell anything of 2 %
    session("0.1", "0.1").run_pairs()
    assert len(asked) == 2 * LOOKS[-1]
    assert [seed for _, seed in asked[::2]] == [seed for _, seed in asked[1::2]]  # pairs are neighbours
    assert [name for name, _ in asked[: 2 * LOOKS[0] : 2]].count("base") == LOOKS[0] / 2


def test_a_base_that_does_not_run_is_misuse(session):
    with pytest.raises(UserError, match=r"the base base does not run .*: exit code 1: no such option"):
        compare.judge_session(session("broken", "0.1"))


@pytest.mark.parametrize(("candidate", "verdict"), [("0.1", "AMBIGUOUS"), ("0.12", "FAIL")])
def test_a_canary_that_moved_takes_a_pass_back_and_leaves_a_fail(session, monkeypatch, candidate, verdict):
    canaries = iter([{"gemm": 1.0, "copy": 1.0}, {"gemm": 1.02, "copy": 1.2}])
    monkeypatch.setattr(compare, "time_canary", lambda *_: next(canaries))
    outcome = compare.judge_session(session("0.1", candidate))
    assert outcome.verdict == verdict
    assert "the canary moved by +20.0%" in outcome.notes[0]


def test_a_metric_that_was_asked_for_and_no_run_measured_is_no_pass(session):
    one = session("0.1", "0.1", ["throughput", "memory"], asked=True)
    outcome = compare.judge_session(one)
    assert outcome.verdict == "INCOMPLETE"
    assert "measured in 0 of 6 runs of the base and 0 of 6 of the candidate" in outcome.console()


def test_a_metric_of_the_default_list_that_neither_measured_is_said(session):
    outcome = compare.judge_session(session("0.1", "0.1", ["throughput", "memory"]))
    assert outcome.verdict == "PASS"
    assert f"not measured on either side, so nothing is said of it: {RUN}: memory" in outcome.notes


def words(correct, n=98):
    right = [1] * correct + [0] * (n - correct)
    return {"accuracy": {"split": "val", "n": n, "correct": correct, "word_accuracy": correct / n, "right": right}}


@pytest.mark.parametrize(
    ("base", "candidate", "verdict"),
    [
        ([90] * 6, [90] * 6, "PASS"),
        ([90] * 6, [89] * 6, "AMBIGUOUS"),  # one word of 98 proves nothing
        ([90] * 6, [10] * 6, "FAIL"),
        ([90] * 6, [10, None, 10, 10, 10, 10], "FAIL"),  # what is missing does not hide it
        ([90] * 6, [90, None, 90, 90, 90, 90], "INCOMPLETE"),
        ([90] * 6, [None] * 6, "INCOMPLETE"),
        ([None] * 6, [90] * 6, "new"),
    ],
)
def test_accuracy_of_a_session(session, base, candidate, verdict):
    one = session("0.1", "0.1", ["accuracy"])
    for name, side in (("base", base), ("candidate", candidate)):
        for seed in range(1, 17):
            correct = side[min(seed, len(side)) - 1]
            changes[name, seed] = words(correct) if correct is not None else {"accuracy": None}
    assert compare.judge_session(one).verdict == verdict


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"provenance": {"commit": "c" * 40, "dirty": True, "diff_sha256": "x"}}, "the tree of the candidate changed"),
        ({"cell": make_record().cell | {"threads_per_card": 7}}, None),
        ({"provenance": {"commit": "c" * 40, "dirty": False, "cpu": "B"}}, "environment.cpu differ"),
        ({"dataset": make_record().dataset | {"manifest_sha256": "b"}}, "dataset.manifest_sha256 differ"),
    ],
)
def test_sides_that_are_not_of_one_kind_are_no_pass(session, other, said):
    one = session("0.1", "0.1")
    for seed in range(1, 17):
        for name in ("base", "candidate"):
            honest = {"commit": "c" * 40, "dirty": False, "cpu": "A"}
            changes[name, seed] = {"provenance": honest, "dataset": make_record().dataset | {"manifest_sha256": "a"}}
    changes["candidate", 2] = changes["candidate", 2] | other
    outcome = compare.judge_session(one)
    assert outcome.verdict == ("INCOMPLETE" if said else "PASS")  # what one build does not know yet is no difference
    assert (said or "") in outcome.console()


def test_a_candidate_whose_record_says_it_failed_does_not_run(session):
    one = session("0.1", "0.1")
    changes["candidate", 3] = {"status": "diverged", "status_reasons": ["loss is nan"]}
    outcome = compare.judge_session(one)
    assert outcome.verdict == "FAIL"
    assert "diverged: loss is nan" in outcome.notes[0]


def still(monkeypatch):
    monkeypatch.setattr(compare, "time_canary", lambda *_: {"gemm": 1.0})


def test_an_ambiguous_session_goes_on_and_pays_for_its_looks(session, monkeypatch, capsys):
    still(monkeypatch)
    monkeypatch.setitem(luck_sd, "runs", 0.05)
    first = session("0.1", "0.1")
    assert compare.judge_session(first).verdict == "AMBIGUOUS"
    options = compare.COMMAND.parse(["a", "b", RUN])
    again = session("0.1", "0.1")
    assert compare.open_folder(again, options) == 4
    assert (again.pairs, again.looks, again.seed) == (16, 3, first.seed)
    compare.judge_session(again, 4)
    assert len(asked) == 2 * 16  # more pairs, and none again
    assert again.pairs == 32


def test_beginning_again_costs_the_looks_that_were_taken(session, monkeypatch, tmp_path):
    still(monkeypatch)
    monkeypatch.setitem(luck_sd, "runs", 0.05)
    compare.judge_session(session("0.1", "0.1"))
    other = session("0.1", "0.1")
    other.folder = tmp_path / "another"
    assert compare.open_folder(other, compare.COMMAND.parse(["a", "b", RUN, "--anew"])) == 3
    assert (other.spent, other.pairs) == (3, 0)


def test_another_comparison_does_not_go_on_with_it(session, monkeypatch, tmp_path):
    still(monkeypatch)
    compare.judge_session(session("0.1", "0.1"))
    with pytest.raises(UserError, match="another session's records"):
        compare.open_folder(session("0.1", "0.2"), compare.COMMAND.parse(["a", "b", RUN]))


def test_half_a_pair_is_measured_again(session, monkeypatch):
    still(monkeypatch)
    one = session("0.1", "0.1")
    one.store("AMBIGUOUS")
    one.extend(0, 1)
    one.measure(RUN, "base", 1, one.place(RUN, 1, "base"))
    again = session("0.1", "0.1")
    again.resume({"seed": 1, "looks": 0, "spent": 0, "pairs": 1})
    again.extend(1, 1)
    assert [len(side) for side in again.records[RUN].values()] == [2, 2]
    assert len(list(again.folder.rglob("CRNN*.json"))) == 4


def test_the_plan_the_pairs_and_what_is_next_are_said(session, capsys):
    one = session("0.1", "0.105")
    assert "12 to 32 runs; a verdict is sought after 6, 10, 16 pairs" in progress.session_plan(one, 3)
    outcome = compare.judge_session(one)
    drawn = progress.draw_pairs(one)
    assert drawn.count("o") >= LOOKS[0]
    assert "(" in drawn
    assert "exit code 1: worse by more than is accepted" in outcome.console()
    assert "images/s  " in outcome.console(200)
    narrow = outcome.console(80)
    assert f"  {RUN} throughput: FAIL\n    better by -4." in narrow
    assert "    base 320 images/s, candidate 30" in narrow
    assert max(map(len, narrow.splitlines()[1:4])) <= 100
    assert "pairs spread by" in capsys.readouterr().out
    assert compare.paired_picture(one).startswith("<svg xmlns")


def test_time_left_is_said_by_the_clock(session, capsys):
    one, now = session("0.1", "0.1"), iter(range(0, 6000, 60))
    one.told, one.now = progress.told_run, lambda: next(now)
    one.extend(0, 1)
    said = capsys.readouterr().out.splitlines()
    assert "10 min to the next verdict, at most 30 min in all" in said[1]  # 10 and 30 runs of a minute are left
    assert "how long that takes is said after the first run" in progress.session_plan(one, 3)
    assert "about 10 min to 30 min, as the last time" in progress.session_plan(one, 3, compare.seconds_before(one))
    other = session("0.1", "0.2")
    other.options = ["--batch-size", "4"]
    assert compare.seconds_before(other) is None


def test_what_was_measured_is_kept_when_a_session_is_stopped(session, monkeypatch):
    """Ctrl-C in the fourth pair: three are kept, no look is taken, and the same command goes on."""
    still(monkeypatch)
    first = session("0.1", "0.1")
    whole = Pretended.measure

    def measure(build, run, results, seed, options, timeout_s):
        if seed == 4:
            raise KeyboardInterrupt
        return whole(build, run, results, seed, options, timeout_s)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Pretended, "measure", measure)
        compare.judge_session(first)
    again = session("0.1", "0.1")
    assert compare.open_folder(again, compare.COMMAND.parse(["a", "b", RUN])) == 3
    assert (again.pairs, again.looks, again.seed) == (3, 0, first.seed)
    assert compare.judge_session(again).verdict == "PASS"
    assert len(asked) == 2 * 3


def test_a_look_that_is_open_says_what_going_on_costs(session, monkeypatch, capsys):
    still(monkeypatch)
    monkeypatch.setitem(luck_sd, "runs", 0.05)
    one, now = session("0.1", "0.1"), iter(range(0, 60000, 60))
    one.now = lambda: next(now)
    compare.judge_session(one)
    said = capsys.readouterr().out
    assert "stop or go on? the next verdict is after 10 pairs, 8 min more; about " in said
    assert progress.stop_or_go_on(one, 20).startswith("go on: the next verdict is after 32 pairs, 32 min more")


def test_calibration_is_kept_and_advertised(session, tmp_path, capsys):
    one = session("0.1", "0.1")
    most = compare.open_folder(one, compare.COMMAND.parse(["a", "b", RUN, "--calibrate"]))
    compare.judge_session(one, most)
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
