//! Packs a directory, for measurements (`tests/bench/squash`):
//! `squash DIRECTORY IMAGE zstd|balanced|gzip|none THREADS`. Says what it took as `SECONDS BYTES KIBIBYTES`,
//! the last of memory at most.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

use squashfs::write::{Compression, Options, Packing, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [directory, image, compression, threads] = arguments.as_slice() else {
        return Err("squash DIRECTORY IMAGE zstd|balanced|gzip|none THREADS".into());
    };
    let options = match compression.to_str() {
        Some("zstd") => Options::for_container(Packing::Size),
        Some("balanced") => Options::for_container(Packing::Balanced),
        Some("none") => Options::for_container(Packing::Speed),
        Some("gzip") => Options { compression: Compression::Gzip(6), ..Options::default() },
        _ => return Err("neither zstd, balanced, gzip nor none".into()),
    };
    let threads = threads.to_string_lossy().parse()?;
    let begun = Instant::now();
    let file = File::options().read(true).write(true).create(true).truncate(true).open(image)?;
    let mut writer = Writer::new(file, Options { threads, ..options })?;
    writer.add_directory(File::open(directory)?.as_fd(), &mut |_| false)?;
    let summary = writer.finish()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let seconds = begun.elapsed().as_secs_f64();
    println!("{seconds:.3} {} {}", summary.bytes, most.trim().trim_end_matches(" kB"));
    Ok(())
}
