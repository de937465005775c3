"""Files: a queue of events that survives the process, and frames in the formats that other tools read."""
