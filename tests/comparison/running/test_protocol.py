"""What a comparison hands to the processes of its runs: their settings, written anew at every start, and limits."""

import os
import resource

import pytest
import yaml
from comparison_folders import made_up_plan

from iapo.comparison.running.evaluate import evaluate_run
from iapo.comparison.running.problems import problems_path, write_problems
from iapo.comparison.running.protocol import check_folders, run_job, run_settings
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.settings import instantiate


def test_a_full_disk_takes_no_settings_of_a_run_away(tmp_path):
    plan = made_up_plan()
    run = plan.reporting_runs(plan.untuned())[0]
    run_job(plan, tmp_path, run)
    process = os.fork()
    if process == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
            run_job(plan, tmp_path, run)
        except OSError:
            os._exit(3)
        finally:
            os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 3
    check_folders(plan, tmp_path)


def test_the_limit_of_rewards_holds_where_runs_are_evaluated(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\ndef slow(completions, **_):\n    time.sleep(5)\n    return [0.0] * len(completions)\n"
    )
    base = {"limit": 8, "sampler.max_new_tokens": 4, "reward_time_limit": 0.2, "device": "cpu"}
    base |= {"rewards": {"accuracy": f"{tmp_path / 'slow.py'}:slow"}}
    methods = {"grpo": {"assigner": "GroupRelative", "estimator": "NoInformation"}}
    evaluation = {"problems": 1, "samples": 1, "budgets": []}
    content = {"base": base, "methods": methods, "reporting": {"seeds": [0]}, "evaluation": evaluation}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(content))
    plan = read_plan(tmp_path / "plan.yaml")
    write_problems(plan, tmp_path, instantiate(plan.evaluation.settings)["rewards"])
    job = run_job(plan, tmp_path, plan.reporting_runs(plan.untuned())[0])
    assert job.stages[-1].command[-1] == "--reward_time_limit=0.2"
    with pytest.raises(TimeoutError, match=r"took longer than 0\.2 s"):
        evaluate_run(problems_path(tmp_path, "test"), tmp_path / "base", 0.2)


def test_a_folder_with_other_settings_is_refused(tmp_path):
    plan = made_up_plan()
    run = plan.reporting_runs(plan.untuned())[0]
    (tmp_path / run.folder).mkdir(parents=True)
    (tmp_path / run.folder / "settings.yaml").write_text(yaml.safe_dump(run_settings(run)))
    check_folders(plan, tmp_path)
    (tmp_path / run.folder / "settings.yaml").write_text(yaml.safe_dump({**run_settings(run), "steps": 4}))
    with pytest.raises(ValueError, match=r"grpo/default/seed-0 holds a run with other settings \(steps is 4, not 3\)"):
        check_folders(plan, tmp_path)
