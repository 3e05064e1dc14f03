//! What packages are of: a format, and a processor under each of its names.

use clap::ValueEnum;

/// A format of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Deb,
    Rpm,
}

impl Format {
    /// Where libraries are, without the slash at the beginning.
    pub(crate) fn libdir(self, arch: Arch) -> &'static str {
        match (self, arch) {
            (Format::Deb, Arch::X86_64) => "usr/lib/x86_64-linux-gnu",
            (Format::Deb, Arch::Aarch64) => "usr/lib/aarch64-linux-gnu",
            (Format::Rpm, _) => "usr/lib64",
        }
    }
}

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    Aarch64,
}

impl Arch {
    /// As rpm calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// As Debian calls it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// As Rust calls it.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }
}
