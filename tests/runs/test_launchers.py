"""Launchers run commands, tell how they ended, and end them; what is lost begins again."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest
from representatives import slow
from slurm_commands import write_commands

import mmjax
from mmjax.errors import UsageError
from mmjax.runs.launchers import open_launcher
from mmjax.runs.launchers.jobs import TRIES, is_lost, run_all
from mmjax.runs.settings import Launch

PATIENCE = 60.0  # seconds


CLUSTER = """if True:
    import ray
    options = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    print(ray.init(num_cpus=2, **options).address_info["address"], flush=True)
    input()
"""


@contextmanager
def ray_cluster():
    """Its address; in a process of its own, for Ray forks, and JAX may have threads in this one."""
    process = subprocess.Popen(
        python(CLUSTER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
    )
    yield process.stdout.readline().strip()
    process.communicate("\n", timeout=PATIENCE)


@contextmanager
def on_slurm(folder):
    """With stand-ins for its commands on the PATH."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", write_commands(folder / "slurm"))
        yield


@pytest.fixture(scope="module", params=["local", "submitit", slow("slurm"), slow("ray")])
def start(request, tmp_path_factory):
    launcher = "submitit" if request.param == "slurm" else request.param
    with ExitStack() as stack:
        if launcher != "local":
            pytest.importorskip(launcher)
        if request.param == "slurm":
            stack.enter_context(on_slurm(tmp_path_factory.mktemp("commands")))
        if request.param == "ray":
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setenv("RAY_ADDRESS", stack.enter_context(ray_cluster()))
        yield stack.enter_context(open_launcher(Launch(launcher)))


def python(code):
    return [sys.executable, "-c", code]


def wait(found):
    deadline = time.monotonic() + PATIENCE
    while (value := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def pid_in(path):
    return int(path.read_text()) if path.exists() and path.read_text() else None


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True


def test_a_command_runs_where_this_process_does_and_its_output_goes_to_the_log(start, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    code = "import os, sys; print(os.getcwd()); print('oh', file=sys.stderr); sys.exit(3)"
    assert wait(start(python(code), log).poll) == 3
    assert sorted(log.read_text().splitlines()) == sorted(["before", os.getcwd(), "oh"])


def test_a_command_that_is_killed_is_lost(start, tmp_path):
    job = start(python("import os; os.kill(os.getpid(), 9)"), tmp_path / "log.txt")
    assert is_lost(wait(job.poll))


SHADOWING = ("random", "queue", "json", "logging", "mmjax", "submitit", "cloudpickle")


def test_workers_import_nothing_from_the_current_folder(start, tmp_path, monkeypatch):
    for name in SHADOWING:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the user')")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.txt"
    command = [sys.executable, "-P", "-m", "mmjax", "--version"]
    code = wait(start(command, log).poll)
    assert (code, log.read_text()) == (0, f"mmjax {mmjax.__version__}\n")


@pytest.mark.slow
@pytest.mark.parametrize("start", ["submitit", "slurm", "ray"], indirect=True)
def test_a_command_whose_worker_is_killed_is_lost(start, tmp_path):
    log = tmp_path / "log.txt"
    job = start(python("import os; os.kill(os.getppid(), 9)"), log)
    assert is_lost(wait(job.poll))
    assert "worker lost: " in log.read_text()


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")  # submitit's own, not waited for
def test_a_command_can_be_ended_and_has_time_to_save(start, tmp_path):
    log = tmp_path / "log.txt"
    code = """if True:
        import os, signal, time
        def save(*_):
            time.sleep(0.5)
            raise SystemExit(143)
        signal.signal(signal.SIGTERM, save)
        print(os.getpid(), flush=True)
        time.sleep(1000)
    """
    job = start(python(code), log)
    pid = wait(lambda: pid_in(log))
    assert job.poll() is None
    job.terminate()
    assert is_lost(wait(job.poll))
    wait(lambda: is_gone(pid))


def test_slurm_gets_the_request_and_its_refusal_is_an_error(tmp_path):
    pytest.importorskip("submitit")
    launch = lambda *request: open_launcher(Launch("submitit", request=request))
    own = tmp_path / "own"
    own.mkdir()
    with on_slurm(tmp_path):
        with launch("slurm_partition=gpu", "mem_gb=2", 'slurm_setup=["true"]') as start:
            assert wait(start(python(""), own / "log.txt").poll) == 0
        script = next((own / "submitit").glob("*.sh")).read_text()
        flags = {"partition=gpu", "mem=2GB", "time=1440"}
        assert {"true", *(f"#SBATCH --{flag}" for flag in flags)} < set(script.splitlines())
        with (
            launch("slurm_partition=none") as start,
            pytest.raises(UsageError, match=r"^request: .*invalid partition"),
        ):
            start(python(""), own / "log.txt")


class FakeJob:
    """Ends with a code after some looks."""

    def __init__(self, code, looks=1):
        self.code, self.looks, self.ended = code, looks, False

    def poll(self):
        self.looks -= 1
        return self.code if self.ended or self.looks < 0 else None

    def terminate(self):
        self.ended = True


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("mmjax.runs.launchers.jobs.PAUSE", 0.01)


def test_no_more_jobs_run_at_once_than_there_are_workers():
    running, most, ended = {}, [], {}

    def start(name):
        running[name] = FakeJob(0, looks=int(name) % 3)
        most.append(len(running))
        return running[name]

    def on_end(name, code):
        del running[name]
        ended[name] = code

    names = [str(index) for index in range(7)]
    run_all(names, start, workers=3, on_end=on_end)
    assert ended == dict.fromkeys(names, 0)
    assert max(most) == 3


@pytest.mark.parametrize(
    ("codes", "starts", "end"),
    [
        ([0], 1, 0),
        ([1], 1, 1),
        ([2], 1, 2),
        ([-signal.SIGKILL, 0], 2, 0),
        ([128 + signal.SIGTERM, 1], 2, 1),
        ([-signal.SIGSEGV] * 9, TRIES, -signal.SIGSEGV),
    ],
)
def test_only_what_is_lost_begins_again_and_not_for_ever(codes, starts, end):
    started, ended, codes = [], [], list(codes)

    def start(name):
        started.append(name)
        return FakeJob(codes.pop(0))

    run_all(["x"], start, workers=2, on_end=lambda *end: ended.append(end))
    assert started == ["x"] * starts
    assert ended == [("x", end)]


def test_what_heed_raises_ends_all_jobs():
    jobs = {name: FakeJob(0, looks=10**9) for name in "ab"}

    def heed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all("ab", jobs.get, workers=2, on_end=None, heed=heed)
    assert all(job.ended for job in jobs.values())


@pytest.mark.parametrize(("launcher", "extra"), [("submitit", "slurm"), ("ray", "ray")])
def test_a_launcher_that_is_not_installed_says_how_to_install_it(launcher, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, launcher, None)
    with (
        pytest.raises(UsageError, match=rf'pip install "mmjax\[{extra}\]"'),
        open_launcher(Launch(launcher)),
    ):
        pass


@pytest.mark.parametrize("launcher", ["submitit", "ray"])
@pytest.mark.parametrize("request_", ["timeout_min=soon", "num_legs=2", "speed"])
def test_a_request_that_a_cluster_refuses_is_refused_before_anything_runs(launcher, request_):
    pytest.importorskip(launcher)
    with (
        pytest.raises(UsageError, match=r"^request: "),
        open_launcher(Launch(launcher, request=(request_,))),
    ):
        pass


@pytest.mark.parametrize(
    ("values", "argument"),
    [
        ({"launcher": "local", "workers": 0}, "workers"),
        ({"workers": 2}, "workers"),
        ({"request": ("a=1",)}, "request"),
        ({"launcher": "local", "request": ("a=1",)}, "request"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values, argument):
    with pytest.raises(UsageError, match=f"^{argument}: "):
        Launch(**values)
