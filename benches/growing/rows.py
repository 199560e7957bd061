"""Jobs and models as copies of real ones, inserted into the database of a stopped server."""

import os
import shutil
import sqlite3
import time
import uuid

# Models whose files have an identity of their own, so that they can be loaded; the others are hard links.
LOADABLE = 20


def new_id(number):
    """A UUIDv7 that is newer than those of lower numbers."""
    return str(uuid.UUID(int=(time.time_ns() // 1_000_000 + number) << 80 | 7 << 76 | 2 << 62 | number))


class Copies:
    """The copies of one job and its model in a data directory."""

    def __init__(self, folder, job, model):
        self.folder, self.job, self.model = folder, job, model
        self.jobs, self.models = [], []

    def grow(self, jobs, models, epochs):
        """Adds copies until there are so many jobs and models; `epochs` are those of the job `long`."""
        with sqlite3.connect(self.folder / "pawprint.sqlite") as database:
            database.row_factory = sqlite3.Row
            for number in range(len(self.jobs), jobs):
                self.add_job(database, number)
            for number in range(len(self.models), models):
                self.add_model(database, number)
            self.lengthen(database, self.jobs[0], epochs)
        database.close()

    def add_job(self, database, number):
        """Each tenth has failed, so that its snapshot is kept."""
        new = new_id(number)
        changed = {"id": new, "name": f"copy-{number:05}", "model_id": None}
        if number % 10 == 9:
            changed |= {"status": "failed", "error_code": "nan_loss", "error_detail": "The loss is not a number."}
        self.insert(database, "jobs", f"id = '{self.job}'", changed)
        for table in ("epochs", "job_events", "evaluations"):
            self.insert(database, table, f"job_id = '{self.job}'", {"job_id": new})
        files = self.folder / "jobs"
        shutil.copytree(files / self.job, files / new, copy_function=os.link)
        self.jobs.append(new)

    def add_model(self, database, number):
        new = new_id(number)
        self.insert(database, "models", f"id = '{self.model}'", {"id": new, "name": f"copy-{number:05}", "selected": 0})
        files = self.folder / "models"
        original, copy = files / f"{self.model}.safetensors", files / f"{new}.safetensors"
        if number < LOADABLE:
            copy.write_bytes(original.read_bytes().replace(self.model.encode(), new.encode(), 1))
        else:
            os.link(original, copy)
        self.models.append(new)

    def lengthen(self, database, job, epochs):
        """Gives a job so many epochs, each like its last one."""
        known = database.execute("SELECT MAX(epoch) FROM epochs WHERE job_id = ?", [job]).fetchone()[0]
        for epoch in range(known + 1, epochs + 1):
            self.insert(database, "epochs", f"job_id = '{job}' AND epoch = {known}", {"epoch": epoch})
            self.insert(database, "job_events", f"job_id = '{job}' AND epoch = {known}", {"epoch": epoch})

    def insert(self, database, table, where, changed):
        """Copies the rows of a table, with other values in some columns. Numbers of events are given anew."""
        for row in database.execute(f"SELECT * FROM {table} WHERE {where}").fetchall():
            values = dict(row) | changed
            if table == "job_events":
                del values["id"]
            places = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", list(values.values()))
