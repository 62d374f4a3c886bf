//! Links the program so that it starts with fewer pages: see [`main`].

use std::env;
use std::process::Command;

/// The first glibc that reads packed relative relocations (its release notes, 2.36).
const PACKED_SINCE: (u32, u32) = (2, 36);

/// A hook is a short process, and a position-independent program of this size has some 15,000 relative relocations, all
/// read at its start: 350 KiB as a table, 10 KiB packed. A C library that does not know the packed form refuses to start
/// the program, so they are packed only where it is built for the machine at hand and that one does. Linkers that do not
/// know the option say so and go on.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let is_for_here = of("HOST") == of("TARGET");
    let is_glibc = of("CARGO_CFG_TARGET_OS") == "linux" && of("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_for_here && is_glibc && glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the C library here; `None` where nobody can tell.
#[expect(clippy::disallowed_methods, reason = "a build script is no part of the program")]
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
