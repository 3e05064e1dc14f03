//! `pyxis list`.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use containers::record::{Container, ContainerError, DataPath, Process, sweep_layers};
use hygiene::console;
use hygiene::text::escaped;
use linux::processes::Row;

use pyxis::settings::Settings;

use super::{CliError, Exit, data_path};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Show the processes of running containers too
    #[arg(short, long)]
    pub(super) fancy: bool,
}

const HEADER: [&str; 9] =
    ["NAME", "PID", "COMM", "STATE", "STARTED", "TIME", "MNTNS", "USERNS", "COMMAND"];
/// For processes in containers started from an image, or removed since.
const UNNAMED: &str = "<unknown>";

impl ListArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let data = data_path(settings)?;
        sweep_layers(&settings.paths.layers);
        if self.fancy {
            console::print_lines(columns(&table(&data)?))
        } else {
            let names = data.names()?;
            console::print_bytes(names.iter().map(|name| name.as_os_str().as_bytes()))
        }
        .map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}

fn table(data: &DataPath) -> Result<Vec<Vec<String>>, ContainerError> {
    let mut processes = Process::all();
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    let mut named = Vec::new();
    for name in data.names()? {
        // A damaged container is listed like one that does not run.
        let mine = match data.container(&name) {
            Ok(container) => take(&mut processes, &container),
            Err(_) => Vec::new(),
        };
        add_rows(&mut named, name.as_os_str(), &mine);
    }
    processes.retain(|process| process.is_container);
    while let Some(label) = processes.iter().find_map(Process::label).map(str::to_owned) {
        let (mine, rest) = processes.drain(..).partition(|process| process.label() == Some(&label));
        processes = rest;
        let mine: Vec<Process> = mine;
        add_rows(&mut named, OsStr::new(&label), &mine);
    }
    if !processes.is_empty() {
        add_rows(&mut rows, OsStr::new(UNNAMED), &processes);
    }
    rows.append(&mut named);
    Ok(rows)
}

fn take(processes: &mut Vec<Process>, container: &Container) -> Vec<Process> {
    let (mine, rest) = processes.drain(..).partition(|process| process.is_in(container));
    *processes = rest;
    mine
}

fn add_rows(rows: &mut Vec<Vec<String>>, name: &OsStr, processes: &[Process]) {
    let mut name = name.to_string_lossy().into_owned();
    for process in processes {
        if let Some(row) = Row::read(process.pid) {
            let Row { command_name, state, started, elapsed, command } = row;
            let (mnt, user) = process.namespaces;
            let name = std::mem::take(&mut name);
            let (pid, mnt, user) = (process.pid.to_string(), mnt.to_string(), user.to_string());
            rows.push(vec![name, pid, command_name, state, started, elapsed, mnt, user, command]);
        }
    }
    if !name.is_empty() {
        rows.push(vec![name]);
    }
}

/// Columns two spaces apart, the last one ragged; a process may have any name.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<Cow<'_, str>>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let line: String = cells.map(|(cell, width)| format!("{cell:width$}  ")).collect();
        line.trim_end().to_owned()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> =
            vec![row(&HEADER[..3]), row(&["long-name", "1", "sh"]), row(&["x"])];
        assert_eq!(columns(&rows), ["NAME       PID  COMM", "long-name  1    sh", "x"]);
        let forged = vec![row(&["a", "b"]), row(&["\x1b[2J\n1", "root"])];
        assert_eq!(columns(&forged), ["a           b", "\\x1b[2J\\n1  root"]);
    }
}
