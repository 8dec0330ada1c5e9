"""Encodes many videos on many processes or machines, as a Ray Data pipeline (extra `distributed`)."""

from bcdcodec.distributed.jobs import Job, list_jobs
from bcdcodec.distributed.pipeline import encode_all
from bcdcodec.distributed.report import write_report
from bcdcodec.distributed.worker import Result

__all__ = ["Job", "Result", "encode_all", "list_jobs", "write_report"]
