//! What the figures were measured on: nothing that names a machine or a person.

use std::fs;
use std::path::Path;

use crate::scene::said;
use crate::{Outcome, program};

/// Prints one line for each fact.
pub(crate) fn print() -> Outcome<()> {
    let cores = std::thread::available_parallelism()?;
    println!("cores: {cores} ({})", processor().unwrap_or_else(|| "of an unknown kind".to_owned()));
    println!("kernel: {}", said("uname", &["-srm"])?);
    println!("{}", said("git", &["--version"])?);
    println!("file system: {}", file_system(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap_or("of another kind"));
    println!("program: {}, {:.1} MB", said(program(), &["--version"])?, megabytes(fs::metadata(program())?.len()));
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        println!("load at the beginning: {}", load.split(' ').next().unwrap_or_default());
    }
    Ok(())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// By the magic numbers of statfs(2); what fsync costs depends on it.
#[cfg(target_os = "linux")]
fn file_system(directory: &Path) -> Option<&'static str> {
    // As text: its type differs from one C library to the other.
    match format!("{:x}", rustix::fs::statfs(directory).ok()?.f_type).as_str() {
        "ef53" => Some("ext4"),
        "58465342" => Some("XFS"),
        "9123683e" => Some("btrfs"),
        "1021994" => Some("tmpfs"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn file_system(_directory: &Path) -> Option<&'static str> {
    None
}
