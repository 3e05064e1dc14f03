//! Which package a file belongs to: what a package manager has installed, only it may take away.

use std::path::{Path, PathBuf};

use super::ask;
use super::command::in_path;

/// A package, and the program that takes it away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    remover: &'static str,
}

impl Package {
    /// The one that has the file; `None` if no package manager knows of it.
    pub(super) fn of(file: &Path) -> Option<Package> {
        let ways = ways(file);
        let dpkg = in_path("dpkg-query").and_then(|program| {
            let name =
                ways.iter().find_map(|way| of_dpkg(&answer(&program, &["-S"], way)?, way))?;
            Some(Package { name, remover: "dpkg -r" })
        });
        dpkg.or_else(|| {
            let program = in_path("rpm")?;
            let format = ["-q", "--qf", "%{NAME}\n", "-f"];
            let name = of_rpm(&answer(&program, &format, file)?)?;
            Some(Package { name, remover: "rpm -e" })
        })
    }

    /// The command line that takes it away.
    pub(super) fn removal(&self) -> String {
        format!("{} {}", self.remover, self.name)
    }
}

/// Packages that were built before /lib was a link call their files by the other name.
fn ways(file: &Path) -> Vec<PathBuf> {
    let short = file.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest));
    [file.to_owned()].into_iter().chain(short).collect()
}

fn answer(program: &Path, options: &[&str], file: &Path) -> Option<String> {
    let mut command = ask::program(program);
    command.args(options).arg(file);
    ask::answer(command).ok()
}

/// Of `NAME[:ARCH][, NAME]: FILE`, the first name.
fn of_dpkg(answer: &str, file: &Path) -> Option<String> {
    let file = file.to_str()?;
    answer.lines().find_map(|line| {
        // A diversion is told of in the same form, and is no package.
        let names = line.strip_suffix(file)?.strip_suffix(": ")?;
        let name = names.split(", ").next()?;
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        is_name(name).then(|| name.to_owned())
    })
}

fn of_rpm(answer: &str) -> Option<String> {
    answer.lines().next().filter(|name| is_name(name)).map(str::to_owned)
}

/// It is put into a command line, and errors have blanks.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_package_managers_answer() {
        let file = Path::new("/usr/lib/slurm/spank_pyxis.so");
        let named = |answer: &str| of_dpkg(answer, file);
        assert_eq!(named("pyxis: /usr/lib/slurm/spank_pyxis.so\n").unwrap(), "pyxis");
        assert_eq!(named("a:amd64, b: /usr/lib/slurm/spank_pyxis.so\n").unwrap(), "a");
        let diverted = "diversion by x from: /usr/lib/slurm/spank_pyxis.so\n";
        assert_eq!(named(diverted), None);
        assert_eq!(named(&format!("{diverted}p: {}\n", file.display())).unwrap(), "p");
        assert_eq!(named("dpkg-query: no path found matching pattern /usr/lib/x\n"), None);
        assert_eq!(named("a;b: /usr/lib/slurm/spank_pyxis.so\n"), None);
        assert_eq!(of_rpm("nvslurm-plugin-pyxis\n").unwrap(), "nvslurm-plugin-pyxis");
        assert_eq!(of_rpm("file /x is not owned by any package\n"), None);
        assert_eq!(of_rpm("-e\n"), None);
        assert_eq!(ways(file)[1], Path::new("/lib/slurm/spank_pyxis.so"));
    }
}
