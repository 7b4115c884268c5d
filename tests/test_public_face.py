"""What `from iapo import ...` gives, and that importing it stays cheap."""

import subprocess
import sys

import pytest

import iapo


@pytest.mark.parametrize("name", iapo.__all__)
def test_every_public_name_is_there(name):
    assert getattr(iapo, name) is not None
    assert name in dir(iapo)


def test_names_come_from_where_they_are_said_to_come_from():
    lazy = {name for names in iapo._HOMES.values() for name in names}
    assert lazy <= set(iapo.__all__)
    for home, names in iapo._HOMES.items():
        module = __import__(home, fromlist=names)
        assert all(getattr(iapo, name) is getattr(module, name) for name in names)
        assert set(names) <= set(getattr(module, "__all__", names))


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'InformationUnaware'"):
        _ = iapo.InformationUnaware


def test_importing_it_imports_nothing_that_takes_seconds():
    code = "import sys, iapo; print(sorted({'torch', 'transformers', 'datasets', 'hypothesis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["interfaces", "types", "advantages"])
def test_a_module_of_public_names_is_imported_when_it_is_first_used(name):
    code = f"import iapo; print(iapo.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"iapo.{name}"


def test_no_exported_function_hides_its_module():
    for home in iapo._HOMES:
        module = sys.modules[home]
        for name in getattr(module, "__all__", ()):
            assert f"{home}.{name}" not in sys.modules, f"{home}.{name} is a module and a name"
