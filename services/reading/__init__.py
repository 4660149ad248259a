"""The shared room for reading: passages in, answers with evidence out."""

from services.reading.calibration import Calibration, NotCalibrated
from services.reading.extraction import extracted
from services.reading.lending import read_by, survey_by
from services.reading.reader import Reader, Survey
from services.reading.teaching import prepare

__all__ = ["Calibration", "NotCalibrated", "Reader", "Survey", "extracted", "prepare", "read_by", "survey_by"]
