//! Writes the seeds of the corpus below the folder given, or `corpus` of this package. Other files there are left alone.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let below = std::env::args_os().nth(1).map(PathBuf::from);
    let below = below.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus"));
    for seed in duet_fuzz::seeds::all() {
        let folder = below.join(seed.target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(&seed.name), &seed.bytes)?;
    }
    Ok(())
}
