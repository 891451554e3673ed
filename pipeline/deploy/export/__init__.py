"""`make export`: a run or ensemble as a folder that answers pictures without torch."""
