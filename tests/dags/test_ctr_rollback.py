"""The rollback DAG is there for a person to trigger."""

from include.orchestration.alerts import notify_failure, notify_killed
from include.setting_groups import PROJECT


def test_rollback_runs_only_when_a_person_triggers_it():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags" / "ctr_rollback.py"))
    assert bag.import_errors == {}
    rollback = bag.dags["ctr_rollback"]
    assert type(rollback.timetable).__name__ == "NullTimetable"
    (task,) = rollback.tasks
    assert (task.owner, task.retries) == ("ctr", 0)
    assert task.on_failure_callback == [notify_failure]
    assert rollback.on_failure_callback is notify_killed
    assert task.doc_md or task.doc
