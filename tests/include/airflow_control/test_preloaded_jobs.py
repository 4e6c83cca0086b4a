"""Programs are forks of a server that has their libraries, and behave as if they had been started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from include.orchestration.preloaded import preloaded
from include.setting_groups import PROJECT

SERVER = """
import sys
from pathlib import Path
from include.airflow_control import preloaded_jobs
preloaded_jobs._PROGRAMS = preloaded_jobs._LIBRARIES = ()
preloaded_jobs._STOP_SECONDS = 1
preloaded_jobs.main(Path(sys.argv[1]))
"""
OTHER_CHECKOUT = """
import sys
from pathlib import Path
from include.orchestration import preloaded
preloaded.runs_in = lambda: ["another"]
preloaded.main(Path(sys.argv[1]), sys.argv[2:], waits=True)
"""
SPARK_SUBMIT = str(Path(sys.executable).parent / "spark-submit")
SPARK_JOB = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
java = spark.sparkContext._jvm.java
print(java.lang.ProcessHandle.current().pid(), spark.range(5).count(), spark.conf.get("spark.sql.shuffle.partitions"), flush=True)
time.sleep(int(sys.argv[2]))
sys.exit(int(sys.argv[1]))
"""
Client = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    deep = tmp_path / ("a-home-with-a-long-name-" * 5)  # longer than the path of a socket may be
    deep.mkdir()
    return deep


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    """Starts a command through a server; without a first word it is a module of `folder`."""
    python = {"PYTHONPATH": f"{PROJECT}:{folder}", "PYSPARK_PYTHON": sys.executable}
    environment = {**os.environ, **python}
    path = folder / "jobs.sock"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path)], env=environment, stderr=(folder / "log").open("w")
    )
    wait_for(path.exists)

    def start(*command: str, **more: str) -> "subprocess.Popen[str]":
        run = [sys.executable, "-m", "include.orchestration.preloaded", str(path), *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(run, env={**environment, **more}, cwd=folder, stdout=pipe, stderr=pipe, text=True)

    yield start
    children = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    server.wait()
    assert not psutil.wait_procs(children, 10)[1], "all that it started ends with it"


def module(folder: Path, text: str, name: str = "program") -> list[str]:
    (folder / f"{name}.py").write_text(text)
    return [sys.executable, "-m", name]


def output(program: "subprocess.Popen[str]") -> list[str]:
    out, err = program.communicate()
    assert out, err
    return out.split()


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_program_has_the_environment_folder_output_and_status_of_its_client(folder: Path, client: Client) -> None:
    text = "import os, sys; print(os.environ['COLOUR'], os.getcwd(), sys.argv[1:]); print('no', file=sys.stderr); sys.exit(2)"
    program = client(*module(folder, text), "--day", "x", COLOUR="blue")
    assert program.communicate() == (f"blue {folder} ['--day', 'x']\n", "no\n")
    assert program.returncode == 2
    client(*module(folder, "open('written', 'w')")).communicate()
    umask = os.umask(0)
    os.umask(umask)
    assert (folder / "written").stat().st_mode & 0o777 == 0o666 & ~umask
    failing = client(*module(folder, "1 / 0"))
    assert "ZeroDivisionError" in failing.communicate()[1]
    assert failing.returncode == 1


def test_programs_run_at_the_same_time_and_know_nothing_of_each_other(folder: Path, client: Client) -> None:
    text = "import json, sys, time; print(hasattr(json, 'seen'), flush=True); json.seen = True; sys.stdin.read(); time.sleep({})"
    first = client(*module(folder, text.format(60)))
    assert first.stdout.readline() == "False\n"
    second = client(*module(folder, text.format(0)))
    assert second.communicate()[0] == "False\n", "the second has the text of now, and modules of its own"
    assert first.poll() is None
    first.kill()
    first.communicate()


def test_the_output_of_a_program_ends_with_it_while_later_ones_run(folder: Path, client: Client) -> None:
    text = "import os, time; print(flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)"
    first = client(*module(folder, text))
    first.stdout.readline()
    later = client(*module(folder, "import time; print(flush=True); time.sleep(60)", "later"))
    later.stdout.readline()
    (folder / "go").touch()
    first.communicate(timeout=20)
    assert later.poll() is None
    later.kill()
    later.communicate()


def test_a_program_ends_with_its_client_and_a_killed_one_has_its_signal_as_status(folder: Path, client: Client) -> None:
    text = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    program = client(*module(folder, text))
    pid = int(program.stdout.readline())
    program.send_signal(signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(pid))
    program.communicate()
    program = client(*module(folder, text))
    os.kill(int(program.stdout.readline()), signal.SIGKILL)
    program.communicate()
    assert program.returncode == 128 + signal.SIGKILL


def test_a_client_whose_server_dies_says_so(folder: Path, client: Client) -> None:
    program = client(*module(folder, "import os, time; print(os.getppid(), flush=True); time.sleep(60)"))
    server = psutil.Process(int(program.stdout.readline()))
    forks = server.children()
    server.kill()
    assert not psutil.wait_procs(forks, 10)[1], "its programs end with it"
    assert "process 'jobs', which ran this program, has ended" in program.communicate()[1]
    assert program.returncode == 1


def test_a_program_that_does_not_end_when_asked_is_killed(folder: Path, client: Client) -> None:
    text = "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(60)"
    program = client(*module(folder, text))
    pid = int(program.stdout.readline())
    program.terminate()
    program.communicate()
    wait_for(lambda: not psutil.pid_exists(pid))


def test_what_a_program_has_started_ends_with_it_and_does_not_keep_it(folder: Path, client: Client) -> None:
    text = "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '60']).pid, flush=True); os.wait()"
    program = client(*module(folder, text))
    pids = list(map(int, program.stdout.readline().split()))
    program.kill()
    program.communicate()
    wait_for(lambda: not any(map(psutil.pid_exists, pids)))
    text = "import os, time\npid = os.fork()\nif pid: print(pid)\nelse: os.closerange(0, 3); time.sleep(60)"
    program = client(*module(folder, text))
    left = int(program.communicate(timeout=20)[0])
    assert program.returncode == 0
    os.kill(left, signal.SIGKILL)


def test_a_program_of_another_checkout_is_left_to_its_client(folder: Path, client: Client) -> None:
    command = module(folder, "import os; print(os.getppid())")
    server = int(output(client(*command))[0])
    there = {**os.environ, "PYTHONPATH": f"{PROJECT}:{folder}"}
    call = [sys.executable, "-c", OTHER_CHECKOUT, str(folder / "jobs.sock"), *command]
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder, env=there)
    assert int(done.stdout) == os.getpid() != server, done.stderr


def test_without_a_server_the_client_becomes_the_command(home: Path) -> None:
    assert preloaded(["true"]) == ["true"]
    left = home / "airflow/jobs.sock"  # of a server that was killed
    left.parent.mkdir()
    left.touch()
    command = preloaded([sys.executable, "-c", "import os; print(os.getppid()); raise SystemExit(3)"])
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert (done.stdout, done.returncode) == (f"{os.getpid()}\n", 3)


def test_spark_jobs_share_a_jvm_until_one_fails_is_cancelled_or_needs_other_options(
    folder: Path, client: Client
) -> None:
    job = folder / "job.py"
    job.write_text(SPARK_JOB)

    def submit(status: int, partitions: int, seconds: str = "0", *first: str) -> "subprocess.Popen[str]":
        conf = ("--conf", f"spark.sql.shuffle.partitions={partitions}")
        master = ("--master", "local[1]")
        options = (*conf, *master) if status else (*master, "--name", "other", *conf)
        return client(*first, SPARK_SUBMIT, *options, str(job), str(status), seconds)

    jobs = [submit(0, 7) for _ in range(3)]  # at the same time: each waits for the one before
    (jvm, *result), *others = (output(program) for program in jobs)
    assert result == ["5", "7"]
    assert [other[0] for other in others] == [jvm, jvm]
    running = submit(0, 7, "60")
    assert running.stdout.readline().split()[0] == jvm
    assert output(submit(0, 7, "0", "--no-wait"))[0] != jvm, "it has a JVM of its own"
    running.kill()
    running.communicate()
    failing = submit(2, 7)
    second_jvm = output(failing)[0]
    assert second_jvm != jvm, "what a cancelled job may have left running is gone"
    assert not psutil.pid_exists(int(jvm))
    assert failing.returncode == 2
    third_jvm, *result = output(submit(0, 8))
    assert third_jvm != second_jvm
    assert result == ["5", "8"]
    broken = client(SPARK_SUBMIT, "--no-such-option", "x", str(job), "0", "0")
    assert "Spark did not start: its JVM ended with status" in broken.communicate()[1]
    assert broken.returncode == 1
    assert output(client(*module(folder, "print('on')"))) == ["on"], "the server goes on"
