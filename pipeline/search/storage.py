"""Where Optuna keeps a study: a journal on disk, or a database by its URL."""

import os
from pathlib import Path
from typing import Any

from pipeline.errors import PodiumError


def open_storage(said: str, journal: Path, source: str) -> Any:
    """Open the storage that a study names: `journal`, a URL, or `$NAME`, a variable of the
    environment that holds the URL, so that no password stands in a file; `source` is that file."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if said == "journal":
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=_Held()))
    if said.startswith("$"):
        url = os.environ.get(said[1:], "")
        if not url:
            raise PodiumError(f"{source}: storage is {said}, but the environment has no {said[1:]}")
        return _database(url, source)
    return _database(said, source)


def mend(journal: Path) -> None:
    """Cut off the half line that a killed writer may have left behind."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(journal, "r+b") as handle:
            handle.truncate(whole)


class _Held:
    """The lock of the journal, which whoever writes holds already: the study's. (Optuna's own lock
    files stay behind when a process is killed.)"""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def _database(url: str, source: str) -> Any:
    """Open a database by its URL, `postgresql://user@host/name` for example."""
    import optuna
    import sqlalchemy

    try:
        return optuna.storages.RDBStorage(
            url, engine_kwargs={"pool_pre_ping": True}, skip_compatibility_check=False
        )
    except ImportError:
        raise PodiumError(
            f"{source}: storage {_shown(url)} needs a driver; install it: "
            ".venv/bin/python -m pip install 'psycopg[binary]'"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise PodiumError(
            f"{source}: storage {_shown(url)} cannot be opened ({str(error).splitlines()[0]}); "
            "mend the URL, or storage: journal"
        ) from None


def _shown(url: str) -> str:
    """Return a URL without its password."""
    import sqlalchemy

    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url.partition("://")[0] + "://..."
