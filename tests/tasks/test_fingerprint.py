"""A stage's code is its module and the core files that it reaches, without comments and docstrings."""

from tasks import fingerprint


def test_comments_docstrings_and_layout_do_not_count(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    a.write_text('def f(x):\n    """Doc."""\n    return x + 1\n')
    b.write_text("def f(x):\n\n    # why\n    return (x + 1)\n")
    c.write_text("def f(x):\n    return x + 2\n")
    assert fingerprint.file_hash(a) == fingerprint.file_hash(b) != fingerprint.file_hash(c)


def test_a_stage_reaches_its_own_room_of_the_core_and_not_its_neighbours():
    policy = set(fingerprint.code_fingerprint("tasks.policy"))
    assert {"tasks/policy.py", "sear_core/policy/advantages.py", "sear_core/schema.py"} <= policy
    assert not any(name.startswith("sear_core/evaluation/") for name in policy)
    assert "tasks/tracking.py" not in policy


def test_library_versions_are_those_installed():
    from importlib import metadata

    assert fingerprint.library_versions("training")["trl"] == metadata.version("trl")


def test_the_report_is_made_anew_when_its_template_or_its_plots_change():
    files = fingerprint.code_fingerprint("tasks.report", ("tasks/templates/*",))
    assert {"tasks/plots.py", "tasks/report_html.py", "tasks/templates/report.html.j2"} <= set(files)
    assert "tasks/model_registry.py" not in files
