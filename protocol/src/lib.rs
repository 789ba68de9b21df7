//! Every byte that leaves a Duet process: frames, signals, keys, rows, records.
