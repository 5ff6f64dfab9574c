//! Workers: lease a run, read bytes, run steps, report.
